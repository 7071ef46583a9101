"""edit: change what the model says of single facts, by adapters that can be taken away bit for bit."""

from collections.abc import Sequence

from engramos.cube import CubeType, MemCube
from engramos.parametric.editors import ROLE as EDITORS
from engramos.parametric.editors.base import Request
from engramos.verbs.parametric._cube import is_always_on
from engramos.verbs.parametric._parts import WeightParts, untouched
from engramos.verbs.parametric._store import Making, judged, put


def edit(weights: WeightParts, requests: Sequence[Request], *, editor: str = "rome", seed: int = 0) -> MemCube:
    """Make an adapter that acts on everything from now on, hold it, and keep it as a cube of type edit.

    Edits are asked for by a person and are single facts; they pass the static scan and a check that the edited prompt
    goes on as asked, and not the probes of the profile, whose questions need facts with sources.

    Args:
        weights: of the open memory.
        requests: 1 or more, edited together.
        editor: as `Role.parse` reads it.
        seed: of all that is drawn.

    Raises:
        InvalidInputError: if requests are missing or contradict each other.
        UnknownMethodError, ConfigError: if the editor is none.
        UnsupportedError: if the model cannot be edited so.
        ModelError: if the base model was touched.
        BlobError, StoreError: if the disk is full or refuses.
    """
    made = EDITORS.parse(editor)
    with weights.writing, untouched(weights, "editing"):
        hold_active(weights)
        adapter = made.edit(requests, weights.base, seed=seed)
        names = tuple(dict.fromkeys(one.subject for one in requests))
        making = Making("edit", editor, is_always_on=True, names=names, type=CubeType.EDIT)
        cube = put(weights, adapter, (), making, ())
        cube = judged(weights, cube, {}, weights.scanned(adapter), "edit")
        hold_active(weights)
    return cube


def hold_active(weights: WeightParts) -> None:
    """Let exactly the active edits of this memory act on the model, in the order of their making."""
    weights.shelf.sync()
    wanted = [weights.shelf.load(cube) for cube in weights.shelf.active() if is_always_on(cube)]
    held = weights.base.held
    for one in held:
        if one in weights.held and one not in wanted:
            weights.base.release(one)
            weights.held.remove(one)
    for one in wanted:
        if one not in weights.base.held:
            weights.base.hold(one)
            weights.held.append(one)
