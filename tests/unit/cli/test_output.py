"""What a person and a machine read, taken apart."""

from datetime import UTC, datetime, timedelta

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from engramos.cli.command import merged
from engramos.cli.options import Where, read_at, read_span
from engramos.cli.output import day, iso, one_line, printable
from engramos.cli.screen import BAR_WIDTH, bar, plural, size
from engramos.scope import Scope


@given(st.text())
def test_nothing_that_is_shown_steers_a_terminal(text: str) -> None:
    shown = printable(text)
    assert not any((ord(letter) < 32 and letter not in "\n\t") or 127 <= ord(letter) < 160 for letter in shown)
    assert not any(0x202A <= ord(letter) <= 0x202E or 0x2066 <= ord(letter) <= 0x2069 for letter in shown)
    shown.encode()


def test_ordinary_text_of_any_script_is_shown_as_it_is() -> None:
    text = "Привет, שלום, 你好, نعم\u200f, 👩\u200d🚀 café\n\tend"
    assert printable(text) == text


@given(st.floats(0, 1))
def test_a_bar_is_as_long_as_its_share(share: float) -> None:
    assert abs(len(bar(share)) - share * BAR_WIDTH) <= 1


def test_times_are_iso_for_machines_and_short_for_people() -> None:
    at = datetime(2024, 5, 31, 18, 30, tzinfo=UTC)
    assert iso(at) == "2024-05-31T18:30:00Z"
    assert day(at) == "2024-05-31 18:30"
    assert day(at.replace(hour=0, minute=0)) == "2024-05-31"
    assert (iso(None), day(None)) == (None, "")


def test_a_date_without_a_time_zone_is_utc_and_a_wrong_one_a_usage_error() -> None:
    assert read_at("2024-05-31") == datetime(2024, 5, 31, tzinfo=UTC)
    assert read_at("2024-05-31T20:30+02:00") == datetime(2024, 5, 31, 18, 30, tzinfo=UTC)
    with pytest.raises(typer.BadParameter, match="is no date"):
        read_at("soon")


@pytest.mark.parametrize(("text", "hours"), [("90m", 1.5), ("12h", 12), ("30d", 720), ("2w", 336), ("3600s", 1)])
def test_a_time_span_is_a_number_and_a_unit(text: str, hours: float) -> None:
    assert read_span(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5h", "30 days", "999999999w"])
def test_another_time_span_is_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="time span"):
        read_span(text)


def test_options_after_the_command_win_over_those_before() -> None:
    before = {"user": "ana", "json": True, "folder": None}
    after = {"user": "bo", "json": False, "folder": None}
    assert merged(before, after) == {"user": "bo", "json": True, "folder": None}


def test_no_option_makes_no_filter_and_a_conversation_narrows_the_scope() -> None:
    own = Scope("local", "me", "bot")
    assert Where({"types": None, "session": None}).filter() is None
    assert Where({"types": None, "session": "s1"}).filter() is None
    assert Where({"session": "s1"}).scope(own) == Scope("local", "me", "bot", "s1")
    assert Where({}).scope(own) is own
    made = Where({"types": ["fact"], "min_trust": 0.0}).filter(["frozen"])
    assert made is not None
    assert (made.types, made.states, made.min_trust) == (("fact",), ("frozen",), 0.0)


def test_numbers_read_well() -> None:
    assert [size(999), size(1_500), size(2_000_000_000)] == ["999 B", "1.5 kB", "2.0 GB"]
    assert [plural(1, "cube"), plural(1_200, "memory", "memories")] == ["1 cube", "1,200 memories"]
    assert one_line(" a\n  b\t") == "a b"
