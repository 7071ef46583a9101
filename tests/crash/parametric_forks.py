"""Writes adapters in processes forked from one that has loaded torch and the model already.

One JSON object a line comes in on stdin: folder, failpoint, and the step at which the child kills itself. The child
writes a line to the file `told` after each call has returned; the parent answers with the status that it ended with.
"""

import json
import os
import signal
import sys
import traceback
from pathlib import Path

from tests.integration.parametric_models import engine, opened

from engramos.memory import MemoryOS


def learn(folder: str, told: str, failpoint: str | None, step: int | None, forgets: str | None) -> None:
    """Learn all that the memory says, or forget a source; each act is told once it has returned."""

    def at(shard: int, shards: int, done: int) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    descriptor = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with MemoryOS.open(folder, embedder="hashing", failpoint=failpoint) as memory, opened(memory) as adapters:
        if forgets is not None:
            adapters.forget(forgets)
            os.write(descriptor, f"forgot {forgets}\n".encode())
            return
        for cube in adapters.learn(progress=at).adapters:
            os.write(descriptor, f"learnt {cube.id}\n".encode())


def serve() -> None:
    """Fork a child for each line until stdin ends."""
    engine()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code, task = 1, json.loads(line)
            try:
                learn(**task)
                code = 0
            except BaseException:
                traceback.print_exc()
                Path(task["told"]).with_suffix(".error").write_text(traceback.format_exc())
            finally:
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
