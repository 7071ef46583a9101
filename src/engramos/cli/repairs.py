"""What forgetting does to adapters: they are written anew where a model is at hand, and else they go."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engramos.cli.output import Output
from engramos.cli.screen import plural

if TYPE_CHECKING:
    from engramos.engines.transformers import Transformers
    from engramos.memory import MemoryOS
    from engramos.verbs.parametric.forget import Repair, Unlearned
    from engramos.verbs.parametric.list import Listed


def adapters_of(memory: "MemoryOS") -> "tuple[Listed, ...]":
    """Return the adapters of a memory's user; no model is loaded."""
    from engramos.verbs.parametric.list import list_adapters

    return list_adapters(memory._parts, memory.scope)


def forget_with_model(
    memory: "MemoryOS",
    engine: "Transformers",
    which: Mapping[str, Any],
    how: Mapping[str, Any],
    *,
    limits: Mapping[str, float],
    is_named: bool,
    dry_run: bool,
) -> "Unlearned":
    """Forget cubes, and repair every adapter that contains a fact of them.

    Args:
        memory: open.
        engine: the local model.
        which: cubes, as `MemoryOS.forget` takes them.
        how: they are forgotten, as `MemoryOS.forget` takes it.
        limits: in place of bounds of the profile that decides on the new adapters.
        is_named: whether a person gave each id, so that none of them is there only because it derives from another.
        dry_run: say what would be done, and do nothing.
    """
    from engramos.verbs.parametric.forget import Unlearned

    chosen = which["cube_ids"] if is_named else memory.forget(**which, **how | {"by": None}, dry_run=True).cube_ids
    ids = tuple(chosen) if is_named else _roots(memory, chosen)
    if not ids:
        return Unlearned(memory.forget(**which, **how, dry_run=dry_run))
    given = {name: value for name, value in how.items() if name != "scope"}
    with memory.parametric(engine, limits=limits) as weights:
        return weights.forget(ids, dry_run=dry_run, **given)


def _roots(memory: "MemoryOS", cube_ids: Sequence[str]) -> tuple[str, ...]:
    """Return the cubes that derive from none of the others."""
    from engramos.cube import Relation

    heads = memory._parts.vault.get_many(memory.scope.tenant, cube_ids)
    wanted = set(cube_ids)
    return tuple(
        cube.id
        for cube in heads.values()
        if not any(edge.cube_id in wanted for edge in cube.header.parents if edge.relation is not Relation.SUPERSEDES)
    )


def facts_left_out(before: "Iterable[Listed]", gone: Iterable[str]) -> int:
    """Return how many facts of other sources are in weights no more, because their adapters have lost a source.

    Args:
        before: the adapters before anything was forgotten.
        gone: ids of all that was forgotten.
    """
    from engramos.verbs.parametric._cube import refs_of

    ids = set(gone)
    hit = [one.cube for one in before if one.state in ("activated", "frozen")]
    hit = [cube for cube in hit if any(edge.cube_id in ids for edge in cube.header.parents)]
    return sum(any(cube_id not in ids for cube_id, _ in ref.sources) for cube in hit for ref in refs_of(cube))


def show_repairs(output: Output, repairs: "Sequence[Repair]", *, is_dry_run: bool) -> None:
    """Tell a person what became of each adapter."""
    for one in repairs:
        told = f"adapter {one.adapter_id} {'would be' if is_dry_run else 'is'} erased: {one.way}"
        if one.num_kept:
            told += f", {plural(one.num_kept, 'other fact')} kept"
        if one.successor_id is not None:
            told += f" in {one.successor_id}"
        output.say(told)
        if one.successor_id is not None and not one.is_active:
            output.warn(f"adapter {one.successor_id} is not used: see why with 'engramos adapters'")


def show_left_out(output: Output, num: int, *, is_dry_run: bool) -> None:
    """Tell a person how many facts have left the weights with others, and how they come back."""
    if num:
        word = "would be" if is_dry_run else "is" if num == 1 else "are"
        output.warn(
            f"{plural(num, 'fact')} of other sources {word} in weights no more: "
            "'engramos learn --model MODEL' writes what is missing, and so does 'engramos forget --model MODEL' at once"
        )


def repair_json(repair: "Repair") -> dict[str, Any]:
    """Return what became of an adapter as JSON values."""
    return {name: getattr(repair, name) for name in repair.__dataclass_fields__}
