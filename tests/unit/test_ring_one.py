"""Scope, clock, errors and roles: plain data, by itself."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engramos import clock as clocks
from engramos import errors
from engramos.embedders import ROLE as EMBEDDERS
from engramos.errors import ConfigError, InvalidInputError, StoreError, UnknownMethodError, translate
from engramos.roles import Role
from engramos.scope import Scope
from engramos.testing import FakeClock


def test_two_tenants_are_two_scopes_and_a_scope_reads_as_a_path() -> None:
    assert Scope("a", "u") != Scope("b", "u")
    assert str(Scope("a", "u", "g", "s")) == "a/u/g/s"
    assert str(Scope("a", "u")) == "a/u"
    with pytest.raises(InvalidInputError):
        Scope("", "u")


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_survive_microseconds(at: datetime) -> None:
    assert clocks.from_us(clocks.to_us(at)) == at


def test_the_same_moment_in_another_zone_is_the_same_number() -> None:
    at = datetime(2024, 5, 1, 12, tzinfo=UTC)
    assert clocks.to_us(at) == clocks.to_us(at.astimezone(tz=None))


def test_ids_sort_by_their_making_even_when_the_clock_steps_back(clock: FakeClock) -> None:
    ids = []
    for step_s in (0, 1, -3_600, 5, 0, 0):
        clock.advance(seconds=step_s)
        ids += [clocks.new_id() for _ in range(50)]
    assert ids == sorted(set(ids))
    assert all(clocks.is_id(one) for one in ids)


@pytest.mark.parametrize("text", ["", "a" * 25, "a" * 27, "A" * 26, "i" * 26, "é" * 26])
def test_what_is_no_id_is_not_taken_for_one(text: str) -> None:
    assert not clocks.is_id(text)


def test_the_fake_clock_moves_when_told_and_gives_the_time_back() -> None:
    with FakeClock() as fake:
        first = clocks.now()
        assert clocks.now() == first
        fake.advance(hours=1, microseconds=3)
        assert clocks.now() - first == timedelta(hours=1, microseconds=3)
        fake.set(first)
        assert clocks.now() == first
        with pytest.raises(InvalidInputError):
            fake.set(datetime(2024, 1, 1))
    assert clocks.now() - first > timedelta(days=100)


def test_the_tree_of_errors_is_the_one_its_file_draws() -> None:
    drawn = [line.split("── ")[-1].split()[0] for line in errors.__doc__.splitlines() if "Error" in line]
    classes = [name for name, value in vars(errors).items() if isinstance(value, type) and name.endswith("Error")]
    assert sorted(drawn) == sorted(classes)


def test_no_error_hides_a_built_in() -> None:
    import builtins

    assert [name for name in vars(errors) if name.endswith("Error") and hasattr(builtins, name)] == []


def test_an_error_without_a_message_says_its_docstring() -> None:
    assert str(StoreError()) == StoreError.__doc__


def test_translate_names_what_failed_and_keeps_the_cause() -> None:
    with (
        pytest.raises(StoreError, match="reading x failed: gone; try again") as raised,
        translate({OSError: StoreError}, "reading x", next_step="try again"),
    ):
        raise FileNotFoundError("gone")
    assert isinstance(raised.value.__cause__, FileNotFoundError)
    with pytest.raises(InvalidInputError, match="ours"), translate({Exception: StoreError}, "reading x"):
        raise InvalidInputError("ours")
    with pytest.raises(KeyError), translate({OSError: StoreError}, "reading x"):
        raise KeyError("not in the table")


def test_a_role_lists_its_folder_and_makes_methods_by_name() -> None:
    assert "hashing" in EMBEDDERS.names()
    assert "base" not in EMBEDDERS.names()
    assert EMBEDDERS.make("hashing", dims=16).dims == 16
    assert EMBEDDERS.parse("{ method = 'hashing', dims = 32 }").dims == 32
    assert EMBEDDERS.parse(" hashing ").dims == 256


def test_a_role_names_what_it_knows_and_the_nearest_parameter() -> None:
    with pytest.raises(UnknownMethodError, match="hashing") as unknown:
        EMBEDDERS.load("hashling")
    assert unknown.value.known == EMBEDDERS.names()
    with pytest.raises(ConfigError, match="did you mean 'dims'"):
        EMBEDDERS.make("hashing", dim=7)
    for text in ("{ dims = 7 }", "{ method = 7 }", "{ method = "):
        with pytest.raises(ConfigError):
            EMBEDDERS.parse(text)


@pytest.mark.parametrize(
    ("package", "base"),
    [
        ("engramos.embedders", "Embedder"),
        ("engramos.plaintext.retrievers", "Retriever"),
        ("engramos.plaintext.rankers", "Ranker"),
        ("engramos.importers", "Importer"),
    ],
)
def test_every_method_file_of_a_role_holds_one_method(package: str, base: str) -> None:
    role = Role(package.rsplit(".", 1)[1], package, base)
    assert role.names()
    assert len({role.load(name) for name in role.names()}) == len(role.names())
