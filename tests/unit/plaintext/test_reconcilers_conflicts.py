"""Slot conflicts: which statement a later one corrects, and which pairs are no conflict."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from reconciler_cubes import cube, cubes, run, superseded

from engramos.errors import ConfigError


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("I live in Lisbon.", "I live in Porto now."),
        ("Ana lives in Lisbon", "Ana lives in Porto"),
        ("Ana's brother works at Acme.", "Ana's brother works at Globex."),
        ("My favourite colour is blue", "My favourite colour is green"),
        ("I am 30 years old", "I am 31 years old"),
        ("The capital of Freedonia is Alpha.", "The capital of Freedonia is Beta City."),
        ("Freedonia's capital is Alpha.", "Freedonia's capital is Beta."),
        ("Acme's CEO is Kim Lee.", "Acme's CEO is Jo Park."),
        ("The deadline of Apollo is Friday.", "The deadline of Apollo is Monday."),
    ],
)
def test_a_relation_that_has_one_value_is_corrected(first: str, second: str) -> None:
    assert superseded("slot_conflicts", cubes(first, second)) == {0: 1}
    assert superseded("slot_conflicts", cubes(first, first)) == {}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("I like tea.", "I like coffee."),
        ("Ana visited Rome.", "Ana visited Paris."),
        ("My friend is Bob.", "My friend is Zoe."),
        ("I have 2 dogs.", "I have 3 cats."),
        ("Ana lives in Lisbon.", "Ben lives in Porto."),
        ("Ana lives in Lisbon.", "Ana does not live in Porto."),
        ("Ana lives in Lisbon.", "Ana might live in Porto."),
        ("Ana lives in Lisbon, Portugal.", "Ana lives in Lisbon."),
        ("I live in Lisbon. The flat is tiny.", "I live in Porto. The flat is large."),
        ("Do I live in Lisbon?", "Do I live in Porto?"),
        ("I work at Acme.", "I work at night."),
        ("Kyoto is a twin city of Paris.", "Rome is a twin city of Paris."),
        ("It was held on Tuesday.", "It was held on Friday."),
    ],
)
def test_what_may_both_be_true_is_no_conflict(first: str, second: str) -> None:
    assert superseded("slot_conflicts", cubes(first, second)) == {}


def test_another_speaker_contradicts_nobody() -> None:
    given = [cube(0, "I live in Lisbon.", "Ana"), cube(1, "I live in Porto.", "Ben")]
    assert superseded("slot_conflicts", given) == {}


def test_the_time_in_the_world_counts_and_not_the_order_of_coming() -> None:
    given = [cube(0, "I live in Lisbon.", day=9), cube(1, "I live in Porto.", day=2)]
    assert superseded("slot_conflicts", given) == {1: 0}


def test_what_is_corrected_back_ends_with_the_last_word() -> None:
    given = cubes("I live in Lisbon.", "I live in Porto.", "I live in Lisbon.")
    assert superseded("slot_conflicts", given) == {0: 1, 1: 2}


def test_a_relation_is_learned_from_other_subjects() -> None:
    around = [f"{name} trains under Coach Reed." for name in ("Mia", "Noa", "Ole", "Pia")]
    pair = ["Quinn trains under Coach Lund.", "Quinn trains under Master Holt."]
    assert superseded("slot_conflicts", cubes(*pair)) == {}
    assert superseded("slot_conflicts", cubes(*around, *pair)) == {4: 5}


def test_a_relation_whose_subjects_have_many_values_is_not_learned() -> None:
    many = [f"{name} sails with {mate}." for name in ("Mia", "Noa", "Ole") for mate in ("Rex", "Sam", "Tom", "Uma")]
    assert superseded("slot_conflicts", cubes(*many)) == {}


def test_a_rare_relation_goes_with_many_others_of_one_value() -> None:
    verbs = ("trains", "serves", "acts", "rows", "sings", "paints", "rides", "drums", "skates", "dances")
    names = ("Mia", "Noa", "Ole")
    facts = [f"{name} {verb} under {boss}." for verb in verbs for name in names for boss in ("Lund", "Holt")]
    rare = ["Pia juggles under Lund.", "Pia juggles under Holt."]
    last = len(facts)
    assert last not in superseded("slot_conflicts", cubes(*facts[6:], *rare))
    assert superseded("slot_conflicts", cubes(*facts, *rare))[last] == last + 1


def test_a_reason_holds_no_content() -> None:
    (verdict,) = run("slot_conflicts", cubes("Ana lives in Lisbon", "Ana lives in Porto")).verdicts
    assert "Ana" not in verdict.reason
    assert "Lisbon" not in verdict.reason


@pytest.mark.parametrize("wrong", [{"num_subjects": 1}, {"num_frames": 0}, {"most_crowded": -0.1}])
def test_a_parameter_out_of_range_is_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        run("slot_conflicts", [], **wrong)
