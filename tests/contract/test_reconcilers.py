"""What every reconciler keeps to, by its name."""

import random
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from engramos.changes import Supersede
from engramos.cube import CubeType, Edge, Form, Header, MemCube, PlaintextPayload, Relation, State
from engramos.lifecycle import revise
from engramos.plaintext.reconcilers import ROLE
from engramos.plaintext.reconcilers.base import Reconciled
from engramos.scope import Scope

NOW = datetime(2025, 1, 1, tzinfo=UTC)
TEXTS = (
    "Ana lives in Lisbon.",
    "Ana lives in Porto.",
    "Our garden has a walnut tree and old benches.",
    "Our garden has a walnut tree and old benches!",
    "On Sunday Vera Holt called.",
    "We saw Vera Holt.",
    "",
    "?",
    "I",
    "日本語の文",
    "Ana lives in",
)
pytestmark = pytest.mark.parametrize("name", ROLE.names())


def cube(number: int, text: str, **header: object) -> MemCube:
    at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number)
    fields = {"type": CubeType.EPISODE, "valid_at": at} | header
    made = Header(
        cube_id=f"{number:04d}", version=1, form=Form.PLAINTEXT, scope=Scope("t", "u"), created_at=at, **fields
    )
    return MemCube(made, PlaintextPayload(text))


def run(name: str, cubes: list[MemCube]) -> Reconciled:
    return ROLE.make(name).reconcile(cubes, NOW, partial(revise, at=NOW, actor="u", method=name))


def some() -> list[MemCube]:
    return [cube(number, text) for number, text in enumerate(TEXTS)]


def test_it_finds_something_in_the_sample(name: str) -> None:
    done = run(name, some())
    assert done.verdicts or done.links


def test_the_order_of_the_cubes_makes_no_difference(name: str) -> None:
    shuffled = some()
    random.Random(7).shuffle(shuffled)
    assert run(name, shuffled) == run(name, some())


def test_nothing_comes_of_nothing(name: str) -> None:
    assert run(name, []) == Reconciled()


def test_changes_carry_out_the_verdicts_and_never_touch_the_text(name: str) -> None:
    before = {one.id: one for one in some()}
    done = run(name, some())
    ended = {change.cube.id for change in done.changes if change.cube.header.invalid_at is not None}
    assert ended == {one.cube_id for one in done.verdicts}
    for change in done.changes:
        assert isinstance(change, Supersede)
        assert change.cube.version == 2
        assert change.cube.payload == before[change.cube.id].payload
        assert change.cube.header.method == name


def test_what_was_brought_back_is_left_alone(name: str) -> None:
    done = run(name, some())
    parents = {one.by_id: (Edge(Relation.SUPERSEDES, one.cube_id, 2),) for one in done.verdicts}
    again = [cube(number, text, parents=parents.get(f"{number:04d}", ())) for number, text in enumerate(TEXTS)]
    assert run(name, again).changes == ()
    restored = [cube(number, text, method="restore") for number, text in enumerate(TEXTS)]
    assert run(name, restored).changes == ()


@pytest.mark.parametrize(
    "header",
    [
        {"state": State.FROZEN},
        {"state": State.ARCHIVED},
        {"state": State.EXPIRED},
        {"type": CubeType.SECRET},
        {"invalid_at": NOW},
        {"valid_at": NOW + timedelta(days=1)},
    ],
)
def test_what_may_not_change_or_is_not_true_now_is_not_judged(name: str, header: dict) -> None:
    assert run(name, [cube(number, text, **header) for number, text in enumerate(TEXTS)]) == Reconciled()
