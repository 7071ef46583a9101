"""Options that evaluations of a hosted model share, each with its name, its unit and its help."""

from pathlib import Path
from typing import Annotated, Any

import typer

from engramos.errors import ConfigError

Model = Annotated[str, typer.Option(metavar="PATH", help="The model: a folder, a GGUF file, or a name on the hub.")]
Data = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder with evaluation data; ENGRAMOS_DATA where not given.")
]
Dtype = Annotated[str, typer.Option(metavar="NAME", help="float32, bfloat16 or float16.")]
Device = Annotated[str, typer.Option(metavar="NAME", help="Where the model runs, such as cpu or cuda.")]
Threads = Annotated[int, typer.Option(metavar="N", min=1, help="Threads of the computation.")]
Seed = Annotated[int, typer.Option(metavar="N", help="Of the choice of texts and of pass keys.")]
Json = Annotated[bool, typer.Option("--json", metavar="", help="One JSON object on stdout, for machines.")]
Out = Annotated[Path | None, typer.Option(metavar="FOLDER", help="Keep the result and a plot here.")]
Plot = Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the plot here: .png, .svg or .pdf.")]
Names = list[str] | None
Writers = Annotated[
    Names, typer.Option("--writer", metavar="NAME", help="A writer, with parameters if you like; many times.")
]
AllWriters = Annotated[bool, typer.Option("--all", metavar="", help="Every writer that takes facts.")]


def numbers(text: str, name: str, kind: Any) -> list[Any]:
    """Return the numbers in a text with commas, each once, in their order.

    Raises:
        ConfigError: if there is none, or something else.
    """
    try:
        found = [kind(one) for one in text.split(",") if one.strip()]
    except ValueError as error:
        raise ConfigError(f"--{name} is {text!r}: give numbers with commas, such as 1024,2048") from error
    if not found:
        raise ConfigError(f"--{name} is empty: give a number")
    return list(dict.fromkeys(found))
