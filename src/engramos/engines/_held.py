"""Adapters that act on everything a model reads."""

import threading
from typing import Any

from engramos.engines._mixture import change_of, hook
from engramos.parametric.adapter import Adapter


class Held:
    """Adapters on a model in the order in which they came; taking one away leaves the others as they are."""

    def __init__(self, model: Any, turn: threading.RLock) -> None:
        """Hold none yet; changes wait for the pass that runs."""
        self._model, self._turn = model, turn
        self._hooks: dict[Adapter, list[Any]] = {}
        self._digests: dict[Adapter, str] = {}

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """Those that are held."""
        return tuple(self._hooks)

    @property
    def digests(self) -> tuple[str, ...]:
        """Digests of those that are held, in their order."""
        return tuple(self._digests.values())

    def add(self, adapter: Adapter) -> None:
        """Let an adapter act from now on, after the others; one that acts already is moved to the end."""
        with self._turn:
            if adapter in self._hooks:
                self.remove(adapter)
            self._hooks[adapter] = [
                hook(self._model, target, [change_of(adapter, target, None)]) for target in adapter.targets
            ]
            self._digests[adapter] = adapter.digest

    def remove(self, adapter: Adapter) -> None:
        """Let an adapter act no more."""
        with self._turn:
            for handle in self._hooks.pop(adapter):
                handle.remove()
            del self._digests[adapter]
