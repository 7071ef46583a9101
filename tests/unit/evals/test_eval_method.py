"""What `--method key=value` means."""

import pytest

from engramos.errors import ConfigError
from engramos.evals.method import read_method
from engramos.plaintext.plan import DEFAULT, LEXICAL


def test_nothing_given_is_the_default_plan_with_the_settings_embedder() -> None:
    method = read_method([], "hashing")
    assert (method.plan_name, method.plan.steps, method.embedder) == ("default", DEFAULT.steps, "hashing")


def test_a_plan_and_an_embedder_can_be_named() -> None:
    method = read_method(["plan=bm25", "embedder=none"], "hashing")
    assert (method.plan.steps, method.embedder) == (LEXICAL.steps, "none")


def test_a_steps_weight_can_be_changed_and_shows_in_the_settings() -> None:
    method = read_method(["speaker=0"], "none")
    assert {step.name: step.weight for step in method.plan.steps}["speaker"] == 0
    assert method.settings["steps"]["speaker"]["weight"] == 0


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("speakr=1", "did you mean 'speaker'"),
        ("speaker", "is no key=value"),
        ("speaker=", "is no key=value"),
        ("speaker=much", "give a number"),
        ("speaker=-1", "give 0 or more"),
        ("plan=best", "use one of default, bm25"),
        ("ranker=liner", "linear"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused_by_name(pair: str, words: str) -> None:
    with pytest.raises((ConfigError, LookupError), match=words):
        read_method([pair], "none")
