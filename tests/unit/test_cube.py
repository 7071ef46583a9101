"""Cubes as JSON, changes as data, and access."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engramos.changes import WRITES, Applied, Receipt, Write
from engramos.cube import (
    CubeType,
    Edge,
    Form,
    Grant,
    Header,
    MemCube,
    PlaintextPayload,
    Relation,
    Retention,
    Source,
    State,
    header_from_json,
    header_to_json,
    payload_from_json,
    payload_to_json,
)
from engramos.errors import AccessDeniedError, CubeNotFoundError, InvalidInputError
from engramos.governance.access import check, derived_trust, is_over, may
from engramos.scope import Scope

NAMES = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
TIMES = st.datetimes(timezones=st.just(UTC))
AT = datetime(2024, 1, 1, tzinfo=UTC)


def header(**different: object) -> Header:
    """Return a header of a fact of Ana."""
    return Header("a" * 26, 1, Form.PLAINTEXT, CubeType.FACT, Scope("t", "ana"), AT, **different)


@given(
    scope=st.builds(Scope, NAMES, NAMES, st.none() | NAMES, st.none() | NAMES),
    created_at=TIMES,
    valid_at=st.none() | TIMES,
    state=st.sampled_from(State),
    parents=st.lists(st.builds(Edge, st.sampled_from(Relation), NAMES, st.integers(1, 9)), max_size=3).map(tuple),
    parameters=st.dictionaries(NAMES, st.integers() | TEXTS | st.booleans() | st.none(), max_size=3),
    source=st.builds(Source, NAMES, TEXTS),
    trust=st.floats(0, 1),
    grants=st.lists(st.builds(Grant, NAMES, st.sampled_from(["read", "write"])), max_size=2).map(tuple),
    labels=st.lists(NAMES, max_size=3).map(tuple),
    retention=st.builds(Retention, st.none() | TIMES, st.booleans()),
    model=st.none() | TEXTS.filter(bool),
)
def test_a_header_survives_json(scope: Scope, created_at: datetime, **rest: object) -> None:
    whole = Header("a" * 26, 3, Form.PLAINTEXT, CubeType.EPISODE, scope, created_at, **rest)
    assert header_from_json(header_to_json(whole)) == whole
    assert header_to_json(header_from_json(header_to_json(whole))) == header_to_json(whole)


@given(
    TEXTS,
    st.builds(
        PlaintextPayload,
        st.just(""),
        st.none() | st.sampled_from(["user", "tool"]),
        st.none() | NAMES,
        st.none() | st.integers(0, 99),
        st.none() | NAMES,
        st.dictionaries(NAMES, st.integers() | TEXTS, max_size=3),
    ),
)
def test_a_payload_survives_json_and_leaves_the_text_out(text: str, payload: PlaintextPayload) -> None:
    from dataclasses import replace

    whole = replace(payload, text=text)
    stored = payload_to_json(whole)
    assert "text" not in json.loads(stored)
    assert payload_from_json(Form.PLAINTEXT, stored, text) == whole


def test_a_cube_refuses_what_does_not_fit() -> None:
    for different in ({"trust": 2.0}, {"valid_at": AT, "invalid_at": AT - timedelta(1)}):
        with pytest.raises(InvalidInputError):
            header(**different)
    with pytest.raises(InvalidInputError):
        Header("a", 0, Form.PLAINTEXT, CubeType.FACT, Scope("t", "u"), AT)
    with pytest.raises(InvalidInputError):
        Header("a", 1, Form.PLAINTEXT, CubeType.ADAPTER, Scope("t", "u"), AT)
    with pytest.raises(InvalidInputError):
        MemCube(Header("a", 1, Form.PARAMETRIC, CubeType.ADAPTER, Scope("t", "u"), AT), PlaintextPayload("text"))


def test_changes_have_one_kind_each_and_a_receipt_names_each_cube_once() -> None:
    assert len(WRITES) == len(Write.__subclasses__())
    applied = (Applied("create", "a", 1, 1), Applied("update", "a", 2, 2), Applied("reindex", "", 3, 3))
    assert Receipt(applied).cube_ids == ("a",)


@pytest.mark.parametrize(
    ("grants", "user", "tenant", "reads", "writes"),
    [
        ((), "ana", "t", True, True),
        ((), "ben", "t", False, False),
        ((Grant("ben", "read"),), "ben", "t", True, False),
        ((Grant("ben", "write"),), "ben", "t", True, True),
        ((Grant("ben", "write"),), "eve", "t", False, False),
        ((Grant("ben", "write"),), "ben", "other", False, False),
        ((), "ana", "other", False, False),
    ],
)
def test_rights_come_from_the_owner_within_one_tenant(
    grants: tuple, user: str, tenant: str, reads: bool, writes: bool
) -> None:
    whole = header(grants=grants)
    scope = Scope(tenant, user)
    assert (may(whole, scope, "read"), may(whole, scope, "write")) == (reads, writes)
    for right, is_allowed in (("read", reads), ("write", writes)):
        if is_allowed:
            assert check(whole, "id", scope, right, AT) is whole
        else:
            with pytest.raises(AccessDeniedError if reads else CubeNotFoundError):
                check(whole, "id", scope, right, AT)


def test_missing_foreign_and_over_look_the_same() -> None:
    said = set()
    over = header(retention=Retention(AT))
    for whole, scope in ((None, Scope("t", "ana")), (header(), Scope("t", "ben")), (over, Scope("t", "ana"))):
        with pytest.raises(CubeNotFoundError) as refused:
            check(whole, "id", scope, "read", AT)
        said.add(str(refused.value))
    assert len(said) == 1


def test_a_hold_keeps_a_retention_from_ending() -> None:
    assert is_over(header(retention=Retention(AT)), AT)
    assert not is_over(header(retention=Retention(AT)), AT - timedelta(seconds=1))
    assert not is_over(header(retention=Retention(AT, is_held=True)), AT + timedelta(days=9))
    assert not is_over(header(), AT)


@given(st.lists(st.floats(0, 1), max_size=6))
def test_derived_trust_is_the_least_of_the_parents(trusts: list[float]) -> None:
    assert derived_trust([header(trust=one) for one in trusts]) == min(trusts, default=1.0)
