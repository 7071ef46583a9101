"""`engramos eval kv` and `engramos eval reuse`: what compressing, storing and reusing KV caches costs."""

import importlib.util
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.progress import Progress

from engramos.config import load
from engramos.errors import ConfigError, MissingExtraError
from engramos.evals.plot import check_installed

KV_EXAMPLE = "Example: engramos eval kv --model ~/models/smollm2 --policy snapkv --policy kvzip --kept 0.25,0.5"
REUSE_EXAMPLE = "Example: engramos eval reuse --model ~/models/smollm2 --prefix 512,2048 --out results"
_PACKAGES = ("torch", "transformers", "safetensors")

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


def evaluate_kv(
    ctx: typer.Context,
    model: Model,
    data: Data = None,
    policy: Annotated[Names, typer.Option(metavar="NAME", help="A KV policy; many times, or none for none.")] = None,
    kept: Annotated[str, typer.Option(metavar="RATIOS", help="Kept ratios, with commas.")] = "0.1,0.25,0.5",
    codec: Annotated[Names, typer.Option(metavar="NAME", help="A codec; many times, or none for none.")] = None,
    recall: Annotated[Names, typer.Option(metavar="NAME", help="A recall method; many times, or none.")] = None,
    cross: Annotated[
        bool, typer.Option("--cross", metavar="", help="Every codec with every policy, not with the full cache alone.")
    ] = False,
    task: Annotated[Names, typer.Option(metavar="NAME", help="passkey or ruler; both where not given.")] = None,
    length: Annotated[str, typer.Option(metavar="TOKENS", help="Lengths of the texts, with commas.")] = "1024",
    samples: Annotated[int, typer.Option(metavar="N", help="Texts of each task and length.")] = 8,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    threads: Threads = 1,
    seed: Seed = 0,
    is_json: Json = False,
    out: Out = None,
    plot: Plot = None,
) -> None:
    """Measure what a compressed KV cache still knows, beside the full one.

    For each policy and kept ratio, each codec, and each recall method with a quarter of the bytes at hand: pass keys
    hidden in a text that is compressed before any question is known, and again with one question known; tasks in the
    style of RULER; perplexity and divergence from the full cache as the text goes on; whether answers stay the same;
    bytes, time to the first token, tokens a second, and CPU time. Every row reads the same texts.
    """
    outputs = Outputs(ctx, "kv", out, plot, is_json=is_json)
    _check_packages()
    hosting = {"model": model, "dtype": dtype, "device": device, "threads": threads}
    chosen = {"policies": policy, "codecs": codec, "recalls": recall, "is_crossed": cross}
    asked = {"kept": kept, "lengths": length, "tasks": task, "samples": samples, "seed": seed}
    _run_kv(outputs, hosting, chosen, asked, load({"data": data}).data)


def _run_kv(
    outputs: "Outputs", hosting: dict[str, Any], chosen: dict[str, Any], given: dict[str, Any], data: Path | None
) -> None:
    from engramos.evals.kv import plot as plots
    from engramos.evals.kv import report, rows
    from engramos.evals.kv.run import Asked, Run, measure, samples_of
    from engramos.evals.kv.tasks import TASKS

    for name in ("policies", "codecs", "recalls"):
        chosen[name] = _chosen(chosen[name], getattr(rows, f"DEFAULT_{name.upper()}"))
    given["kept"] = numbers(given["kept"], "kept", float)
    given["lengths"] = numbers(given["lengths"], "length", int)
    given["tasks"] = list(given["tasks"] or TASKS)
    measured = rows.rows_of(kept=given["kept"], **chosen)
    asked = Asked(tuple(given["lengths"]), given["samples"], given["seed"], tuple(given["tasks"]), data)
    engine = open_engine(**hosting)
    run = Run()
    samples = samples_of(engine, asked, run)
    with bars("measure", len(samples) * len(measured.rows)) as progress:
        run.outcomes = measure(engine, measured, samples, progress)
    result = report.result_of(run, measured, {**hosting, **chosen, **given})
    if outputs.folder is not None:
        outputs.tell(report.write(outputs.folder, result, report.lines_of(result, run)))
    outputs.draw(lambda path: plots.draw_kv(result, measured, path))
    outputs.show(result, report.table(result, measured))


def evaluate_reuse(
    ctx: typer.Context,
    model: Model,
    data: Data = None,
    prefix: Annotated[
        str, typer.Option(metavar="TOKENS", help="Lengths of the stored prefixes, with commas.")
    ] = "512,1024,2048,4096,8192",
    codec: Annotated[
        Names, typer.Option(metavar="NAME", help="A further codec; many times, or none; int8 where not given.")
    ] = None,
    samples: Annotated[
        int, typer.Option(metavar="N", min=0, help="Texts for the table of fused pieces; 0 for no table.")
    ] = 8,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    threads: Threads = 1,
    seed: Seed = 0,
    is_json: Json = False,
    out: Out = None,
    plot: Plot = None,
) -> None:
    """Measure how soon the first token comes with a stored KV cache, and what fused pieces know.

    A prefix is encoded, written to a file, and read back by memory map: the time to the first token with and without
    it, whether 32 tokens of the answers are the same, and the time to attach beside that of reading the bytes alone.
    The second table has ways to put pieces together that were encoded apart.
    """
    outputs = Outputs(ctx, "reuse", out, plot, is_json=is_json)
    _check_packages()
    hosting = {"model": model, "dtype": dtype, "device": device, "threads": threads}
    given = {"prefixes": prefix, "codecs": codec, "samples": samples, "seed": seed}
    _run_reuse(outputs, hosting, given, load({"data": data}).data)


def _run_reuse(outputs: "Outputs", hosting: dict[str, Any], given: dict[str, Any], data: Path | None) -> None:
    from engramos.evals.kv import plot as plots
    from engramos.evals.kv import report, reuse_report
    from engramos.evals.kv.reuse import reuse
    from engramos.evals.kv.texts import Texts

    prefixes = numbers(given["prefixes"], "prefix", int)
    codecs = _chosen(given["codecs"], ("int8",))
    texts, left_out = Texts.read(data), list[str]()
    engine = open_engine(**hosting)
    with tempfile.TemporaryDirectory(prefix="engramos-eval-") as folder, bars("prefixes", len(prefixes)) as progress:
        metrics = reuse(engine, prefixes, codecs, Path(folder), texts, given["seed"], left_out, progress)
    metrics |= reuse_report.fused(engine, texts, given["samples"], given["seed"])
    settings = {**hosting, **given, "prefixes": prefixes, "codecs": codecs, "text": texts.source}
    result = reuse_report.result_of(metrics, settings, left_out)
    if outputs.folder is not None:
        outputs.tell(report.write(outputs.folder, result))
    outputs.draw(lambda path: plots.draw_reuse(result, path))
    outputs.show(result, reuse_report.tables(result))


class Outputs:
    """Where a result goes; what cannot be is said before any work."""

    def __init__(self, ctx: typer.Context, name: str, folder: Path | None, plot: Path | None, *, is_json: bool) -> None:
        """Take what the command was given.

        Raises:
            ConfigError: if the folder is a file, or the plot's name has no known format.
            MissingExtraError: if a plot is asked for, and matplotlib is not installed.
        """
        self.folder, self._plot, self._name = folder, plot, name
        self._is_json = is_json or bool((ctx.obj or {}).get("json"))
        if folder is not None and folder.exists() and not folder.is_dir():
            raise ConfigError(f"{folder} is a file: give a folder for the results")
        if plot is not None:
            check_installed(plot)

    def draw(self, draw: Any) -> None:
        """Call `draw` with where the plot goes, if anywhere; say it on stderr where it cannot be drawn."""
        path = self._plot
        if path is None and self.folder is not None:
            path = self.folder / f"{self._name}.png"
            try:
                check_installed(path)
            except MissingExtraError as error:
                sys.stderr.write(f"no plot is drawn: {error}\n")
                return
        if path is not None:
            draw(path)
            self.tell([path])

    def tell(self, paths: Sequence[Path]) -> None:
        """Say on stderr what was written."""
        for path in paths:
            sys.stderr.write(f"wrote {path}\n")

    def show(self, result: Any, shown: RenderableType) -> None:
        """Print the result: one line of JSON, or tables; in both cases what was left out goes to stderr too."""
        if self._is_json:
            for line in result["settings"]["left_out"]:
                sys.stderr.write(f"left out: {line}\n")
            sys.stdout.write(json.dumps(result) + "\n")
            return
        Console(width=None if sys.stdout.isatty() else 220, highlight=False).print(shown)


def open_engine(model: str, dtype: str, device: str, threads: int) -> Any:
    """Return an engine that hosts the model, with this many threads.

    Raises:
        ConfigError, ModelError, UnsupportedError: if it cannot.
    """
    import torch
    from transformers.utils import logging

    from engramos.engines.transformers import Transformers

    logging.disable_progress_bar()
    torch.set_num_threads(threads)
    return Transformers(model=model, dtype=dtype, device=device)


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


@contextmanager
def bars(name: str, total: int) -> Iterator[Any]:
    """Yield what counts steps on a bar; nothing is shown where stderr is no terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task(name, total=total)
        yield lambda num: shown.advance(task, num)


def _chosen(given: Names, default: Sequence[str]) -> list[str]:
    """Return what was given, or else the default; `none` alone is nothing."""
    return [] if given == ["none"] else list(given or default)


def _check_packages() -> None:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(" and ".join(missing), "local")
