"""`engramos eval edit`: what editors of single facts reach, and what they change beside."""

import importlib.util
from pathlib import Path
from typing import Annotated, Any

import typer

from engramos.config import load
from engramos.errors import ConfigError, MissingExtraError
from engramos.evals.kv.command import (
    Data,
    Device,
    Dtype,
    Json,
    Model,
    Names,
    Out,
    Outputs,
    Plot,
    Threads,
    bars,
    numbers,
    open_engine,
)

EDIT_EXAMPLE = "Example: engramos eval edit --model ~/models/smollm2 --method rome --method wise --sequential 1,10,100"
DEFAULT_METHODS = ("rome", "memit", "alphaedit", "wise", "grace")
_PACKAGES = ("torch", "transformers", "safetensors")


def evaluate_edit(
    ctx: typer.Context,
    model: Model,
    data: Data = None,
    method: Annotated[
        Names, typer.Option(metavar="NAME", help="An editor; many times; all five where not given.")
    ] = None,
    data_set: Annotated[str, typer.Option(metavar="NAME", help="counterfact or zsre.")] = "counterfact",
    edits: Annotated[
        int, typer.Option(metavar="N", min=0, help="Single edits, each undone before the next; 0 for none.")
    ] = 10,
    sequential: Annotated[
        str, typer.Option(metavar="NUMBERS", help="Numbers of edits made one after the other, with commas, or none.")
    ] = "10",
    dtype: Dtype = "float32",
    device: Device = "cpu",
    threads: Threads = 1,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the choice of cases and texts, and of the editors.")] = 0,
    is_json: Json = False,
    out: Out = None,
    plot: Plot = None,
) -> None:
    """Measure what editors of single facts reach, and what they change beside.

    Each case gives a fact another answer. Efficacy is the share of edits after which the new answer is likelier than
    the old one, and exact where it is also the one that is generated; paraphrase is the same with another prompt.
    Neighbourhood is the share of prompts about something else on which the old answer stays the likelier one, locality
    that of those whose next token stays. The score is the harmonic mean of efficacy, paraphrase and neighbourhood. On
    running text of WikiText: the share of next tokens that stay, and how much the perplexity grows. An edit is undone
    if the model's scores come back bit for bit.
    """
    outputs = Outputs(ctx, "edit", out, plot, is_json=is_json)
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(" and ".join(missing), "local")
    folder = load({"data": data}).data
    if folder is None:
        raise ConfigError("no folder with evaluation data is set: give --data DIR, or set ENGRAMOS_DATA")
    hosting = {"model": model, "dtype": dtype, "device": device, "threads": threads}
    given = {"methods": list(method or DEFAULT_METHODS), "data_set": data_set, "edits": edits, "seed": seed}
    _run(outputs, hosting, given | {"sequential": _counts(sequential)}, folder)


def _counts(text: str) -> list[int]:
    """Return the numbers of edits in sequence, rising."""
    found = [] if text.strip() == "none" else numbers(text, "sequential", int)
    if any(one < 1 for one in found):
        raise ConfigError(f"--sequential is {text!r}: give numbers from 1 on, or none")
    return sorted(found)


def _run(outputs: Outputs, hosting: dict[str, Any], given: dict[str, Any], data: Path) -> None:
    from engramos.evals.kv import report as reports
    from engramos.evals.kv.rows import label
    from engramos.evals.parametric import edit_plot, edit_report
    from engramos.evals.parametric.edit import Asked, measure
    from engramos.evals.parametric.edit_cases import chosen, paragraphs, read_cases
    from engramos.parametric.editors import ROLE

    asked = Asked(given["edits"], tuple(given["sequential"]), given["seed"])
    if not asked.num_cases:
        raise ConfigError("nothing is to be measured: give --edits or --sequential")
    editors = {label(ROLE, text): ROLE.parse(text) for text in given["methods"]}
    if len(editors) != len(given["methods"]):
        raise ConfigError(f"an editor is asked for twice in {', '.join(given['methods'])}: name each once")
    cases = chosen(read_cases(data, given["data_set"]), asked.num_cases, asked.seed)
    text = paragraphs(data)
    engine = open_engine(**hosting)
    with bars("edits", len(editors) * asked.edits_an_editor) as progress:
        run = measure(engine.base, editors, cases, asked, text, progress)
    result = edit_report.result_of(run, {**hosting, **given, "methods": list(editors)})
    if outputs.folder is not None:
        outputs.tell(reports.write(outputs.folder, result, edit_report.lines_of(result, run)))
    outputs.draw(lambda path: edit_plot.draw(result, path))
    outputs.show(result, edit_report.table(result))
