"""`engramos eval kv` and `engramos eval reuse`: what compressing, storing and reusing KV caches costs."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from engramos.config import load
from engramos.evals.hosted import Outputs, bars, check_packages, open_engine
from engramos.evals.options import Data, Device, Dtype, Json, Model, Names, Out, Plot, Seed, Threads, numbers

KV_EXAMPLE = "Example: engramos eval kv --model ~/models/smollm2 --policy snapkv --policy kvzip --kept 0.25,0.5"
REUSE_EXAMPLE = "Example: engramos eval reuse --model ~/models/smollm2 --prefix 512,2048 --out results"


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
    check_packages()
    hosting = {"model": model, "dtype": dtype, "device": device, "threads": threads}
    chosen = {"policies": policy, "codecs": codec, "recalls": recall, "is_crossed": cross}
    asked = {"kept": kept, "lengths": length, "tasks": task, "samples": samples, "seed": seed}
    _run_kv(outputs, hosting, chosen, asked, load({"data": data}).data)


def _run_kv(
    outputs: Outputs, hosting: dict[str, Any], chosen: dict[str, Any], given: dict[str, Any], data: Path | None
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
    check_packages()
    hosting = {"model": model, "dtype": dtype, "device": device, "threads": threads}
    given = {"prefixes": prefix, "codecs": codec, "samples": samples, "seed": seed}
    _run_reuse(outputs, hosting, given, load({"data": data}).data)


def _run_reuse(outputs: Outputs, hosting: dict[str, Any], given: dict[str, Any], data: Path | None) -> None:
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


def _chosen(given: Names, default: Sequence[str]) -> list[str]:
    """Return what was given, or else the default; `none` alone is nothing."""
    return [] if given == ["none"] else list(given or default)
