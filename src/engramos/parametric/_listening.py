"""What modules read while a model runs: for writers and editors whose keys are hidden states."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from torch import Tensor

from engramos.errors import UnsupportedError
from engramos.parametric.adapter import Adapter
from engramos.parametric.model import BaseModel


class _Listener(Adapter):
    """Changes nothing, and keeps what its module read last. It lives for one pass and is never stored."""

    KIND: ClassVar[str] = "listener"

    def __init__(self, target: str) -> None:
        """Listen to the module of this name."""
        self._target = target
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []

    @property
    def targets(self) -> tuple[str, ...]:
        """The one module."""
        return (self._target,)

    def change(self, target: str, inputs: Tensor, output: Tensor) -> Tensor:
        """Return the output as it is."""
        self.inputs.append(inputs.detach())
        self.outputs.append(output.detach())
        return output

    def tensors(self) -> dict[str, Tensor]:
        """Return nothing: what was heard is not stored."""
        return {}

    def settings(self) -> dict[str, Any]:
        """Return the target."""
        return {"target": self._target}

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """Refuse: nothing of it is ever stored."""
        raise UnsupportedError("what listens to a module is not stored: there is nothing to restore")


def heard(base: BaseModel, target: str, run: Callable[[], object]) -> tuple[Tensor, Tensor]:
    """Return what a module read and gave in the last pass that `run` makes, adapters that are held included.

    Args:
        base: the model.
        target: the module's name.
        run: runs the model through that module, once or more.

    Returns:
        Its input and its output, as it had them: (rows, tokens, features) each.
    """
    listener = _Listener(target)
    with base.using(listener):
        run()
    return listener.inputs[-1], listener.outputs[-1]
