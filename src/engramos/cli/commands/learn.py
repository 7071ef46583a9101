"""`engramos learn`: facts of memories are written into weights."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from engramos.cli.exit_codes import ERROR, OK
from engramos.cli.invocation import Invocation
from engramos.cli.local_model import Bounds, Device, Dtype, Model, ProfileName, Seed, opened_weights
from engramos.cli.options import DryRun
from engramos.cli.output import Output, printable
from engramos.cli.screen import plural, show_rows, size

if TYPE_CHECKING:
    from engramos.cube import MemCube
    from engramos.parametric.facts import Fact
    from engramos.parametric_memory import ParametricMemory
    from engramos.verbs.parametric.learn import Learned, Planned

EXAMPLE = "engramos learn --model SmolLM2-135M-Instruct --dry-run"
METRICS = ("recall", "paraphrase", "false_hits", "ppl_drift")
"""Of each adapter, for people."""
MAX_REASONS = 5

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Of which memories; all if left out.")]
Question = Annotated[str | None, typer.Option("--question", help="Of the memories that this question needs.")]
Writer = Annotated[str | None, typer.Option("--writer", help="How facts become an adapter: lora, knn, mega, ...")]
TrustFrom = Annotated[
    float | None, typer.Option("--trust-from", help="Memories that are trusted less never train, 0 to 1.")
]


def learn(
    invocation: Invocation,
    model: Model,
    cube_ids: Ids = None,
    question: Question = None,
    writer: Writer = None,
    profile: ProfileName = None,
    bounds: Bounds = None,
    trust_from: TrustFrom = None,
    seed: Seed = None,
    dry_run: DryRun = False,
    dtype: Dtype = "float32",
    device: Device = "cpu",
) -> int:
    """Write the facts of memories into small adapters of a local model.

    The plan is shown first. Each adapter is examined, and used only if it passes; the exit code is 1 where one does
    not. The memories stay as they are.
    """
    settings = {"bounds": bounds, "writer": writer, "profile": profile, "trust_from": trust_from, "seed": seed}
    with opened_weights(invocation, model, dtype, device, **settings) as (_, weights):
        output = invocation.output
        planned = weights.learn(tuple(cube_ids or ()), question=question, dry_run=True)
        if not output.is_json:
            _show_plan(output, planned.plan)
        done = planned if dry_run else _learned(output, weights, planned.plan, tuple(cube_ids or ()), question)
    if output.is_json:
        output.object(_as_json(done))
    elif not dry_run:
        _show_adapters(output, done)
    return ERROR if done.failures else OK


def _learned(
    output: Output, weights: "ParametricMemory", plan: "Planned", cube_ids: tuple[str, ...], question: str | None
) -> "Learned":
    steps = [shard.cost.steps for shard in plan.shards]
    if not steps:
        return weights.learn(cube_ids, question=question)
    with output.progress(f"writing {plural(len(steps), 'adapter')}", sum(steps) or None) as advance:
        reached = 0

        def progress(shard: int, shards: int, step: int) -> None:
            nonlocal reached
            # a writer may stop early, and its next adapter begins where the plan says
            at = sum(steps[:shard]) + min(step, steps[shard]) if shard < len(steps) else sum(steps)
            advance(max(0, at - reached))
            reached = max(reached, at)

        done = weights.learn(cube_ids, question=question, progress=progress)
        progress(len(steps), len(steps), 0)
    return done


def _show_plan(output: Output, plan: "Planned") -> None:
    rows = [
        (f"{number}", fact.subject, fact.question, fact.answer)
        for number, shard in enumerate(plan.shards, start=1)
        for fact in shard.facts
    ]
    if rows:
        show_rows(output, ("adapter", "subject", "question", "answer"), rows)
        cost = f"about {plan.cost.cpu_s:.1f} CPU seconds and {size(plan.cost.num_bytes)}"
        output.say(
            f"{plural(len(rows), 'fact')} for {plural(len(plan.shards), 'adapter')}, written by {plan.writer}: {cost}"
        )
    for number, shard in enumerate(plan.shards, start=1):
        if shard.replaces:
            output.say(f"adapter {number} takes the place of {', '.join(shard.replaces)}")
    if plan.known:
        output.say(f"{plural(len(plan.known), 'fact')} known already")
    if plan.distrusted:
        output.warn(f"{plural(len(plan.distrusted), 'memory', 'memories')} not trusted enough to train: review them")
    if not rows:
        output.say("nothing to write")


def _show_adapters(output: Output, done: "Learned") -> None:
    if not done.adapters:
        return
    rows = [(cube.id, cube.header.state.value, *_metrics(cube)) for cube in done.adapters]
    show_rows(output, ("id", "state", "recall", "paraphrase", "false hits", "drift"), rows)
    for cube_id, failures in done.failures.items():
        for why in failures[:MAX_REASONS]:
            output.warn(f"{cube_id} is not used: {printable(why)}")
        if len(failures) > MAX_REASONS:
            output.warn(f"{cube_id} is not used: and {len(failures) - MAX_REASONS} more, see 'engramos probe'")
    output.say(f"written in {done.cpu_s:.1f} CPU seconds, {len(done.adapters) - len(done.failures)} active")


def _metrics(cube: "MemCube") -> list[str]:
    probes: Any = getattr(cube.payload, "probes", {})
    return [f"{probes[name]:.2f}" if name in probes else "" for name in METRICS]


def _as_json(done: "Learned") -> dict[str, Any]:
    plan = done.plan
    return {
        "is_dry_run": done.is_dry_run,
        "writer": plan.writer,
        "shards": [
            {
                "facts": [fact_json(fact) for fact in shard.facts],
                "replaces": list(shard.replaces),
                "cpu_s": shard.cost.cpu_s,
                "num_bytes": shard.cost.num_bytes,
            }
            for shard in plan.shards
        ],
        "known": [fact_json(fact) for fact in plan.known],
        "distrusted": list(plan.distrusted),
        "adapters": [examined_json(cube, done.failures.get(cube.id, ())) for cube in done.adapters],
        "cpu_s": done.cpu_s,
    }


def fact_json(fact: "Fact") -> dict[str, Any]:
    """Return a fact as JSON values."""
    return {
        "subject": fact.subject,
        "question": fact.question,
        "answer": fact.answer,
        "sources": [{"id": one.cube_id, "version": one.version} for one in fact.sources],
    }


def examined_json(cube: "MemCube", failures: tuple[str, ...]) -> dict[str, Any]:
    """Return an adapter and what its probes found as JSON values."""
    payload: Any = cube.payload
    return {
        "id": cube.id,
        "state": cube.header.state.value,
        "passes": not failures,
        "num_bytes": payload.num_bytes,
        "metrics": dict(payload.probes),
        "failures": list(failures),
    }
