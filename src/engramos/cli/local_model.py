"""The local model that a command names."""

from typing import TYPE_CHECKING, Annotated

import typer

from engramos.errors import MissingExtraError

if TYPE_CHECKING:
    from engramos.engines.base import Engine

_PANEL = "Which model"
Model = Annotated[
    str,
    typer.Option(
        "--model", metavar="PATH", help="A folder, a GGUF file, or a name on the hub.", rich_help_panel=_PANEL
    ),
]
Dtype = Annotated[str, typer.Option("--dtype", help="float32, bfloat16 or float16.", rich_help_panel=_PANEL)]
Device = Annotated[str, typer.Option("--device", help="Where it runs, such as cpu or cuda.", rich_help_panel=_PANEL)]
Codec = Annotated[str, typer.Option("--codec", help="How keys and values are stored.", rich_help_panel=_PANEL)]


def load_engine(model: str, dtype: str = "float32", device: str = "cpu") -> "Engine":
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
