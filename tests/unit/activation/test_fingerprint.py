"""Fingerprints of models."""

import subprocess
import sys
from dataclasses import replace

import pytest

from engramos.activation.fingerprint import MAX_TEXT, TEXTS, Fingerprint
from engramos.cube import ActivationPayload
from engramos.errors import InvalidInputError

MODEL = Fingerprint("w1", "c1", "t1", "p1", "bfloat16", "r1", ("a1", "a2"))
CHANGED = [replace(MODEL, **{name: "other"}) for name in TEXTS] + [
    replace(MODEL, adapters=()),
    replace(MODEL, adapters=("a2", "a1")),
    replace(MODEL, adapters=("a1,a2",)),
    replace(MODEL, weights="c1", config="w1"),
    replace(MODEL, weights="w1c", config="1"),
]


def test_every_field_changes_the_digest():
    digests = {one.digest for one in (MODEL, *CHANGED)}
    assert len(digests) == len(CHANGED) + 1
    assert {len(one) for one in digests} == {64}


@pytest.mark.parametrize("name", [*TEXTS, "adapters"])
def test_a_field_that_differs_is_named(name):
    other = replace(MODEL, **{name: ("x",) if name == "adapters" else "x"})
    assert MODEL.differences(other) == other.differences(MODEL) == (name,)
    assert MODEL.differences(replace(MODEL)) == ()


def test_several_differences_are_named_in_the_order_of_the_fields():
    assert MODEL.differences(replace(MODEL, rope="x", weights="x")) == ("weights", "rope")


@pytest.mark.parametrize("one", [MODEL, *CHANGED])
def test_a_payload_carries_it_there_and_back(one):
    payload = ActivationPayload("d", 1, one.to_mapping(), (1,), (0,), 1.0)
    assert Fingerprint.from_mapping(payload.fingerprint) == one
    assert all(isinstance(value, str) for value in one.to_mapping().values())


def test_another_process_computes_the_same_digest():
    fields = tuple(MODEL.to_mapping()[name] for name in TEXTS)
    code = f"from engramos.activation.fingerprint import Fingerprint\nprint(Fingerprint{fields!r}.digest)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == replace(MODEL, adapters=()).digest


WRONG = {
    "an old format": {"format": "0"},
    "an unknown field": {"colour": "red"},
    "adapters that are no JSON": {"adapters": "[a"},
    "adapters that are no list": {"adapters": '"a"'},
    "adapters that nest deep": {"adapters": "[" * 100_000},
    "an adapter that is no text": {"adapters": "[1]"},
    "a field that is no text": {"weights": 7},
    "an empty field": {"weights": ""},
    "a field that is too long": {"weights": "x" * (MAX_TEXT + 1)},
    "half a surrogate pair": {"weights": "\ud800"},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mapping_that_is_no_fingerprint_is_refused(name):
    with pytest.raises(InvalidInputError, match="fingerprint"):
        Fingerprint.from_mapping(MODEL.to_mapping() | WRONG[name])


def test_a_missing_field_is_refused_by_name():
    table = MODEL.to_mapping()
    del table["rope"]
    with pytest.raises(InvalidInputError, match="rope"):
        Fingerprint.from_mapping(table)


def test_adapters_must_be_a_tuple():
    with pytest.raises(InvalidInputError, match="tuple"):
        replace(MODEL, adapters=["a"])
