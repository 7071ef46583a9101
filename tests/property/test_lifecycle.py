"""The lifecycle as a machine: only the table's moves happen, and every version follows from the one before."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engramos.cube import CubeType, Form, Header, MemCube, PlaintextPayload, State
from engramos.errors import FrozenError, IllegalTransitionError
from engramos.lifecycle import MOVES, may_move, move, revise
from engramos.scope import Scope

START = datetime(2024, 1, 1, tzinfo=UTC)
STATES = st.sampled_from(State)


def cube_in(state: State) -> MemCube:
    """Return a cube that stands in a state."""
    scope = Scope("local", "me")
    header = Header("a" * 26, 1, Form.PLAINTEXT, CubeType.FACT, scope, START, state=state, labels=("kept",))
    return MemCube(header, PlaintextPayload("text"))


def test_the_table_names_every_state_and_no_state_moves_to_itself() -> None:
    assert set(MOVES) == set(State)
    assert all(state not in wanted for state, wanted in MOVES.items())


def test_every_state_can_be_reached_and_left() -> None:
    reached = {State.GENERATED, State.ACTIVATED}
    for _ in State:
        reached |= {wanted for state in reached for wanted in MOVES[state]}
    assert reached == set(State)
    assert all(MOVES[state] for state in State)


@given(st.lists(STATES, max_size=30), st.lists(st.integers(-10, 10), min_size=30, max_size=30))
def test_a_walk_follows_the_table_and_makes_one_version_a_move(wanted: list[State], steps_s: list[int]) -> None:
    cube, at = cube_in(State.GENERATED), START
    for state, step_s in zip(wanted, steps_s, strict=False):
        at += timedelta(seconds=step_s)
        before = cube
        if may_move(cube.header.state, state):
            cube = move(cube, state, at, actor="ana")
            assert cube.header.state is state
            assert cube.version == before.version + 1
            assert cube.header.created_at > before.header.created_at
            assert (cube.header.expired_at is not None) == (state is State.EXPIRED)
            assert cube.payload == before.payload
            assert cube.header.labels == before.header.labels
            assert before.version == cube.version - 1
        else:
            error = FrozenError if cube.header.state is State.FROZEN else IllegalTransitionError
            with pytest.raises(error):
                move(cube, state, at, actor="ana")


@given(STATES, st.text(min_size=1, max_size=20))
def test_only_what_is_neither_hidden_nor_frozen_can_be_revised(state: State, text: str) -> None:
    cube = cube_in(state)
    payload = PlaintextPayload(text)
    if state is State.FROZEN:
        with pytest.raises(FrozenError):
            revise(cube, START, actor="ana", payload=payload)
    elif state in (State.EXPIRED, State.MERGED):
        with pytest.raises(IllegalTransitionError):
            revise(cube, START, actor="ana", payload=payload)
    else:
        newer = revise(cube, START, actor="ana", payload=payload)
        assert (newer.text, newer.version, newer.header.state) == (text, 2, state)
        assert newer.header.created_at == START + timedelta(microseconds=1)
        assert cube.text == "text"


@given(STATES, STATES)
def test_a_refusal_names_the_cube_and_both_states(state: State, wanted: State) -> None:
    if may_move(state, wanted):
        return
    with pytest.raises((FrozenError, IllegalTransitionError)) as refused:
        move(cube_in(state), wanted, START, actor="ana")
    assert "a" * 26 in str(refused.value)
