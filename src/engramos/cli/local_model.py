"""The local model that a command names, and what it is opened with."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engramos.cli.invocation import Invocation
from engramos.errors import InvalidInputError, MissingExtraError

if TYPE_CHECKING:
    from engramos.engines.transformers import Transformers
    from engramos.memory import MemoryOS
    from engramos.parametric_memory import ParametricMemory

_PANEL = "Which model"
Model = Annotated[
    str,
    typer.Option(
        "--model", metavar="PATH", help="A folder, a GGUF file, or a name on the hub.", rich_help_panel=_PANEL
    ),
]
MaybeModel = Annotated[
    str | None,
    typer.Option("--model", metavar="PATH", help="Of the adapters that are written anew.", rich_help_panel=_PANEL),
]
Dtype = Annotated[str, typer.Option("--dtype", help="float32, bfloat16 or float16.", rich_help_panel=_PANEL)]
Device = Annotated[str, typer.Option("--device", help="Where it runs, such as cpu or cuda.", rich_help_panel=_PANEL)]
Codec = Annotated[str, typer.Option("--codec", help="How keys and values are stored.", rich_help_panel=_PANEL)]
Bounds = Annotated[
    list[str] | None,
    typer.Option("--bound", metavar="METRIC=NUMBER", help="In place of a bound of the profile; may repeat."),
]
ProfileName = Annotated[str | None, typer.Option("--profile", help="Whose bounds decide: gated or always_on.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Of all that is drawn; 0 if left out.")]


def load_engine(model: str, dtype: str = "float32", device: str = "cpu") -> "Transformers":
    """Return the engine of a model; torch and transformers are imported here and not before.

    Raises:
        MissingExtraError: if they are not installed.
        ConfigError, ModelError: if the model is not there, or cannot be loaded.
    """
    try:
        from transformers.utils import logging

        from engramos.engines.transformers import Transformers
    except ImportError as error:
        raise MissingExtraError("what local models need (torch, transformers)", "local") from error
    logging.disable_progress_bar()
    return Transformers(model=model, dtype=dtype, device=device)


@contextmanager
def opened_weights(
    invocation: Invocation, model: str, dtype: str, device: str, *, bounds: Sequence[str] | None = None, **settings: Any
) -> "Iterator[tuple[MemoryOS, ParametricMemory]]":
    """Load the model and open the memory's adapters on it; settings that are None keep their defaults."""
    limits = read_bounds(bounds)
    engine = load_engine(model, dtype, device)
    import torch

    # the products of training are small: more threads wait for each other and burn two to three times the CPU
    torch.set_num_threads(1)
    given = {name: value for name, value in settings.items() if value is not None}
    with invocation.memory() as memory, memory.parametric(engine, limits=limits, **given) as weights:
        yield memory, weights


def read_bounds(texts: Sequence[str] | None) -> dict[str, float]:
    """Return the bounds that options give, by metric.

    Raises:
        InvalidInputError: if a text is no metric and number.
    """
    found = {}
    for text in texts or ():
        metric, _, number = text.partition("=")
        try:
            found[metric] = float(number)
        except ValueError as error:
            raise InvalidInputError(f"{text!r} is no bound: write a metric and a number, as recall=0.8") from error
    return found
