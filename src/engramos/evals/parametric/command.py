"""`engramos eval write`, `eval mqar` and `eval unlearn`: what writing into weights gives, costs, and leaves behind."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from engramos.config import load
from engramos.errors import ConfigError, UnsupportedError
from engramos.evals.hosted import Outputs, bars, check_packages, open_engine
from engramos.evals.options import (
    AllWriters,
    Data,
    Device,
    Dtype,
    Json,
    Model,
    Names,
    Out,
    Plot,
    Seed,
    Threads,
    Writers,
    numbers,
)

WRITE_EXAMPLE = "Example: engramos eval write --model ~/models/smollm2 --facts 50 --out results"
MQAR_EXAMPLE = "Example: engramos eval mqar --model ~/models/smollm2 --writer memory_layer --pairs 16,64"
UNLEARN_EXAMPLE = "Example: engramos eval unlearn --model ~/models/smollm2 --questions 20"
DEFAULT = "lora"
FORGOTTEN = 10
PAIR_WRITERS = ("memory_layer", "lora", "knn")


def evaluate_write(
    ctx: typer.Context,
    model: Model,
    data: Data = None,
    facts: Annotated[int, typer.Option(metavar="N", min=1, help="Invented facts, five a person.")] = 50,
    facts_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Facts of your own instead, one JSON object a line.")
    ] = None,
    writer: Writers = None,
    is_all: AllWriters = False,
    router: Annotated[str, typer.Option(metavar="NAME", help="How a question finds its adapter.")] = "cascade",
    embedder: Annotated[
        str, typer.Option(metavar="NAME", help="By which a router compares questions; none for names alone.")
    ] = "bge_small",
    profile: Annotated[str, typer.Option(metavar="NAME", help="Whose bounds let an adapter become active.")] = "gated",
    limit: Annotated[
        Names, typer.Option(metavar="METRIC=NUMBER", help="Replace a bound of the profile; many times.")
    ] = None,
    forget: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Facts that are forgotten at the end; 10, of few half, where not given."),
    ] = None,
    sequential: Annotated[
        int, typer.Option(metavar="N", min=1, help="Write in so many rounds, and ask for all after each.")
    ] = 1,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    threads: Threads = 1,
    seed: Seed = 0,
    is_json: Json = False,
    out: Out = None,
    plot: Plot = None,
) -> None:
    """Measure what writers make of facts, in a memory of its own that is gone afterwards.

    Facts are kept as cubes, written into adapters, probed, and asked for through the router: their questions, wordings
    that were trained and wordings that were not, what nobody said of the same persons, and persons nobody spoke of.
    Text and questions about anything else show how far the model is from the base model, through the router and with
    the adapters on everything. Then some facts are forgotten, and all are asked for again.
    """
    outputs = Outputs(ctx, "write", out, plot, is_json=is_json)
    check_packages()
    hosting = {"model": model, "dtype": dtype, "device": device, "threads": threads}
    asked = {"facts": facts, "facts_file": facts_file, "forget": forget, "sequential": sequential, "seed": seed}
    asked["embedder"] = embedder
    ways = {"router": router, "profile": profile, "limits": _limits(limit or ())}
    _run_write(outputs, hosting, asked, _writers(writer, (DEFAULT,), is_all=is_all), ways, load({"data": data}).data)


def _run_write(
    outputs: Outputs,
    hosting: dict[str, Any],
    asked: dict[str, Any],
    writers: Mapping[str, str],
    ways: dict[str, Any],
    data: Path | None,
) -> None:
    from engramos.evals.kv.report import write
    from engramos.evals.parametric import plot as plots
    from engramos.evals.parametric import report
    from engramos.evals.parametric.write import num_phases

    task = _task(asked, ways, data)
    engine = open_engine(**hosting)
    with bars("measure", num_phases(task) * len(writers)) as progress:
        measured, left_out = _each(engine, writers, task, progress)
    default = DEFAULT if DEFAULT in measured else next(iter(measured))
    file = None if asked["facts_file"] is None else str(asked["facts_file"])
    settings = {**hosting, **asked, **ways, "facts_file": file, "writers": list(writers.values())}
    settings |= {
        "facts": len(task.facts),
        "forget": task.num_forgotten,
        "asked": len(task.facts),
        "text": task.unrelated.source,
    }
    result = report.result_of("write", default, report.write_metrics(measured, default), settings, left_out)
    rows = {name: one.metrics for name, one in measured.items()}
    if outputs.folder is not None:
        outputs.tell(write(outputs.folder, result, report.lines_of(result, measured, task.facts)))
    outputs.draw(lambda path: plots.draw_write(result, rows, path))
    title = f"write: {len(task.facts)} facts, {task.unrelated.source}, {hosting['threads']} thread(s)"
    outputs.show(result, report.table(title, "writer", rows, report.WRITE, left_out))


def _task(asked: Mapping[str, Any], ways: Mapping[str, Any], data: Path | None) -> Any:
    from engramos.evals.parametric.facts_file import read_facts
    from engramos.evals.parametric.invented import invented
    from engramos.evals.parametric.unrelated import Unrelated
    from engramos.evals.parametric.write import Task
    from engramos.parametric.phrasings import unknown_questions
    from engramos.parametric.profiles import profile
    from engramos.parametric.routers import ROLE as ROUTERS

    profile(ways["profile"], **ways["limits"])
    ROUTERS.parse(ways["router"])
    seed, unrelated = asked["seed"], Unrelated.read(data)
    if asked["facts_file"] is None:
        made = invented(asked["facts"], seed)
        given = (made.facts, unrelated, made.unseen_subjects, made.unseen_relations)
    else:
        own = read_facts(asked["facts_file"])
        unknown = unknown_questions(own, seed)
        mine = tuple(one for one in unknown if any(name in one for fact in own for name in fact.names))
        given = (own, unrelated, tuple(one for one in unknown if one not in mine), mine)
    forget = min(FORGOTTEN, len(given[0]) // 2) if asked["forget"] is None else asked["forget"]
    return Task(*given, forget, asked["sequential"], seed, asked["embedder"], ways)


def _each(engine: Any, writers: Mapping[str, str], task: Any, progress: Any) -> tuple[dict[str, Any], list[str]]:
    """Return what came of each writer, and what was left out; of several, one that does not fit the model is."""
    from engramos.evals.parametric.write import measure

    measured, left_out = {}, []
    for name, text in writers.items():
        try:
            measured[name] = measure(engine, text, task, progress)
        except UnsupportedError as error:
            if len(writers) == 1:
                raise
            left_out.append(f"{name}: {error}")
            continue
        left_out += [f"{name}: {note}" for note in measured[name].notes]
    if not measured:
        raise ConfigError(f"there is nothing to measure: {'; '.join(left_out)}")
    return measured, left_out


def evaluate_mqar(
    ctx: typer.Context,
    model: Model,
    pairs: Annotated[str, typer.Option(metavar="NUMBERS", help="Pairs written at once, with commas.")] = "16,64",
    writer: Writers = None,
    is_all: AllWriters = False,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    threads: Threads = 1,
    seed: Seed = 0,
    is_json: Json = False,
    out: Out = None,
    plot: Plot = None,
) -> None:
    """Measure how many pairs of an invented word and a number can be written at once and recalled.

    Every key is asked for its value; the first row is the base model with all pairs in its prompt.
    """
    outputs = Outputs(ctx, "mqar", out, plot, is_json=is_json)
    check_packages()
    hosting = {"model": model, "dtype": dtype, "device": device, "threads": threads}
    nums = numbers(pairs, "pairs", int)
    _run_mqar(outputs, hosting, nums, _writers(writer, PAIR_WRITERS, is_all=is_all), seed)


def _run_mqar(
    outputs: Outputs, hosting: dict[str, Any], nums: Sequence[int], writers: Mapping[str, str], seed: int
) -> None:
    from engramos.evals.kv.report import write
    from engramos.evals.parametric import plot as plots
    from engramos.evals.parametric import report
    from engramos.evals.parametric.mqar import measure, pairs_of
    from engramos.parametric.writers import ROLE as WRITERS

    for num in nums:
        pairs_of(num, seed)
    made = {name: WRITERS.parse(text) for name, text in writers.items()}
    engine, rows = open_engine(**hosting), []
    with bars("pairs", len(nums)) as progress:
        for num in nums:
            rows += measure(engine.base, made, [num], seed)
            progress(1)
    settings = {**hosting, "pairs": list(nums), "writers": list(writers.values()), "seed": seed, "asked": max(nums)}
    result = report.result_of("mqar", next(iter(writers)), report.mqar_metrics(rows), settings, ())
    if outputs.folder is not None:
        outputs.tell(write(outputs.folder, result))
    outputs.draw(lambda path: plots.draw_mqar(result, rows, path))
    own = {f"{row.num_pairs:,} {row.writer}": f"{row.writer}.{row.num_pairs}." for row in rows}
    shown = {
        name: {metric: result["metrics"][begin + metric] for metric, _, _ in report.MQAR} for name, begin in own.items()
    }
    outputs.show(result, report.table("mqar: values recalled", "pairs, writer", shown, report.MQAR))


def evaluate_unlearn(
    ctx: typer.Context,
    model: Model,
    data: Data = None,
    questions: Annotated[int, typer.Option(metavar="N", min=2, help="Facts to forget, and as many to keep.")] = 10,
    unlearner: Annotated[
        Names, typer.Option(metavar="NAME", help="An unlearner; many times; every one where not given.")
    ] = None,
    writer: Annotated[str, typer.Option(metavar="NAME", help="The writer of the adapters, of low rank.")] = DEFAULT,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    threads: Threads = 1,
    seed: Seed = 0,
    is_json: Json = False,
    out: Out = None,
    plot: Plot = None,
) -> None:
    """Measure what is left of facts that are taken out of an adapter, beside one that never had them.

    The facts are those of a sample of TOFU in the folder with data, answers cut to their first clause. Rows: the base
    model; the adapter with all facts; one that was written from the kept half alone, and one more with another seed,
    as exact forgetting gives it; and each unlearner.
    """
    outputs = Outputs(ctx, "unlearn", out, plot, is_json=is_json)
    check_packages()
    folder = load({"data": data}).data
    if folder is None:
        raise ConfigError("no folder with evaluation data is set: give --data DIR, or set ENGRAMOS_DATA")
    hosting = {"model": model, "dtype": dtype, "device": device, "threads": threads}
    _run_unlearn(outputs, hosting, {"questions": questions, "writer": writer, "seed": seed}, unlearner, folder)


def _run_unlearn(
    outputs: Outputs, hosting: dict[str, Any], asked: dict[str, Any], unlearners: Names, data: Path
) -> None:
    from engramos.evals.kv.report import write
    from engramos.evals.parametric import plot as plots
    from engramos.evals.parametric import report
    from engramos.evals.parametric.tofu import sample
    from engramos.evals.parametric.unlearn import EXACT, measure
    from engramos.parametric.unlearning import ROLE as UNLEARNERS
    from engramos.parametric.writers import ROLE as WRITERS

    named = _named(unlearners or UNLEARNERS.names(), UNLEARNERS)
    made, writer = {name: UNLEARNERS.parse(text) for name, text in named.items()}, WRITERS.parse(asked["writer"])
    drawn = sample(data, asked["questions"], asked["seed"])
    engine = open_engine(**hosting)
    with bars("measure", 2 * len(made) + 2) as progress:
        rows = measure(engine.base, drawn, writer, made, asked["seed"], progress)
    settings = {**hosting, **asked, "unlearners": list(named.values()), "asked": 2 * asked["questions"]}
    result = report.result_of("unlearn", EXACT, report.prefixed(rows), settings, ())
    if outputs.folder is not None:
        outputs.tell(write(outputs.folder, result))
    outputs.draw(lambda path: plots.draw_unlearn(result, rows, path))
    title = f"unlearn: {asked['questions']} facts to forget and as many to keep, {hosting['threads']} thread(s)"
    outputs.show(result, report.table(title, "adapter", rows, report.UNLEARN))


def _limits(texts: Sequence[str]) -> dict[str, float]:
    """Return bounds by metric.

    Raises:
        ConfigError: if a text is no metric with a number.
    """
    found = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError as error:
            raise ConfigError(f"--limit is {text!r}: give METRIC=NUMBER, such as recall=0.8") from error
    return found


def _writers(given: Names, default: Sequence[str], *, is_all: bool) -> dict[str, str]:
    """Return the writers by the name that rows show.

    Raises:
        ConfigError, UnknownMethodError: if one is none, or does not take facts.
    """
    from engramos.parametric.writers import ROLE

    if is_all and given:
        raise ConfigError("--all measures every writer: leave --writer out")
    if is_all:
        return {name: name for name in ROLE.names() if "facts" in ROLE.load(name).takes}
    named = _named(given or default, ROLE)
    for name, text in named.items():
        if "facts" not in ROLE.parse(text).takes:
            raise ConfigError(f"the writer {name} does not take facts: choose one that does")
    return named


def _named(texts: Sequence[str], role: Any) -> dict[str, str]:
    """Return methods by a name that tells them apart: the method's, and its parameters where it has any."""
    found = {}
    for text in texts:
        name, parameters = role.read(text)
        role.make(name, **parameters)
        found[".".join([name, *(f"{key}{value}" for key, value in parameters.items())])] = text
    return found
