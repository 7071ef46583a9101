"""AsyncMemoryOS: the verbs of an open memory for asyncio."""

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from engramos.memory import VERBS, MemoryOS


def _in_thread(verb: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(verb)
    async def run(self: "AsyncMemoryOS", *args: Any, **kwargs: Any) -> Any:
        return await asyncio.to_thread(verb, self.memory, *args, **kwargs)

    return run


class AsyncMemoryOS:
    """The verbs of `MemoryOS` as coroutines: each runs in a worker thread, none blocks the event loop."""

    def __init__(self, memory: MemoryOS) -> None:
        self.memory = memory

    @classmethod
    async def open(cls, folder: str | Path | None = None, **settings: Any) -> Self:
        """Open the memory in `folder`; see `MemoryOS.open`."""
        return cls(await asyncio.to_thread(functools.partial(MemoryOS.open, folder, **settings)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.memory.close)


for _name in VERBS:
    setattr(AsyncMemoryOS, _name, _in_thread(getattr(MemoryOS, _name)))
