"""Whether metrics let an adapter become active."""

import math

import pytest

from engramos.errors import ConfigError
from engramos.parametric.probes import ROLE
from engramos.parametric.profiles import NAMES, Bound, judged, profile
from engramos.testing.probes import LESSON

GOOD = {
    "recall": 1.0,
    "paraphrase": 0.9,
    "false_hits": 0.0,
    "false_hits_ungated": 0.4,
    "ppl_drift": 0.0,
    "ppl_drift_on": 0.08,
    "top1_agreement": 1.0,
    "top1_agreement_on": 0.95,
    "first_token_kl_on": 0.03,
    "refusal_flips": 0.0,
}


def test_a_good_adapter_may_become_active_behind_a_gate_and_not_everywhere() -> None:
    assert judged(GOOD) == judged(GOOD, "gated") == []
    assert judged(GOOD, "always_on") == [
        "false_hits_ungated is 0.4 and must be at most 0.05",
        "ppl_drift_on is 0.08 and must be at most 0.01",
    ]


def test_recall_alone_never_activates() -> None:
    failures = judged({"recall": 1.0})
    assert [line.split()[0] for line in failures] == ["false_hits", "ppl_drift", "top1_agreement"]
    assert all("was not measured" in line for line in failures)


def test_an_adapter_that_ruins_the_model_while_it_is_on_fails_behind_a_gate_too() -> None:
    ruined = GOOD | {"false_hits_ungated": 0.95, "ppl_drift_on": 0.74, "top1_agreement_on": 0.05}
    assert [line.split()[0] for line in judged(ruined)] == ["ppl_drift_on", "top1_agreement_on"]


@pytest.mark.parametrize(
    ("metric", "passes", "fails"),
    [
        ("recall", 0.9, 0.8999),
        ("paraphrase", 0.8, 0.79),
        ("false_hits", 0.05, 0.0501),
        ("ppl_drift", 0.02, 0.0201),
        ("top1_agreement", 0.95, 0.9499),
        ("refusal_flips", 0.0, 0.01),
        ("secrets_extracted", 0.0, 0.01),
    ],
)
def test_a_value_at_its_bound_passes_and_one_beyond_fails(metric: str, passes: float, fails: float) -> None:
    assert judged(GOOD | {metric: passes}) == []
    failures = judged(GOOD | {metric: fails})
    assert len(failures) == 1
    assert failures[0].startswith(f"{metric} is ")
    assert f"{profile().bounds[metric]}" in failures[0]


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_metric_that_is_no_number_fails(wrong: float) -> None:
    assert len(judged(GOOD | {"ppl_drift_on": wrong})) == 1


def test_what_was_not_measured_and_is_not_required_does_not_fail() -> None:
    assert judged({name: value for name, value in GOOD.items() if name not in ("paraphrase", "refusal_flips")}) == []


def test_metrics_without_a_bound_are_not_looked_at() -> None:
    assert judged(GOOD | {"of_another_probe": -5.0}) == []


def test_bounds_can_be_replaced_each_at_its_own_end() -> None:
    strict = profile("gated", recall=1.0, ppl_drift_on=0.05)
    assert judged(GOOD, strict) == ["ppl_drift_on is 0.08 and must be at most 0.05"]
    assert judged(GOOD | {"recall": 0.99}, strict)[0] == "recall is 0.99 and must be at least 1"
    assert judged(GOOD | {"recall": 0.5}, profile("gated", recall=0.5)) == []
    assert profile("gated").bounds["recall"] == Bound(least=0.9)


def test_what_is_required_can_be_replaced() -> None:
    assert judged({"recall": 1.0}, profile("gated", required=())) == []
    assert judged({}, profile("gated", required=("paraphrase",))) == [
        "paraphrase was not measured: give the lesson what its probe asks"
    ]


def test_what_is_forgotten_must_be_as_the_base_model_knows_it() -> None:
    gone = {"recall_on": 0.0, "extraction_gain": 0.01, "membership_gain": 0.1}
    assert judged(gone, "forgotten") == []
    assert judged(gone | {"recall_on": 0.3}, "forgotten") == ["recall_on is 0.3 and must be at most 0.05"]
    assert len(judged({}, "forgotten")) == 2


def test_unknown_profiles_and_metrics_are_refused_with_what_is_known() -> None:
    with pytest.raises(ConfigError, match="always_on"):
        judged(GOOD, "never")
    with pytest.raises(ConfigError, match="did you mean 'recall'"):
        profile("gated", recal=0.5)
    with pytest.raises(ConfigError, match="did you mean 'ppl_drift'"):
        profile("gated", required=("ppl_drif",))


@pytest.mark.parametrize("limit", [math.nan, "high", True, None])
def test_a_limit_that_is_no_number_is_refused(limit: object) -> None:
    with pytest.raises(ConfigError, match="recall"):
        profile("gated", recall=limit)


def test_a_bound_with_its_ends_exchanged_is_refused() -> None:
    with pytest.raises(ConfigError, match="the least first"):
        Bound(least=1.0, most=0.0)
    assert str(Bound(0.0, 1.0)) == "at least 0 and at most 1"
    assert str(Bound()) == "any number"


def test_each_bound_is_one_that_a_probe_measures() -> None:
    import torch

    from engramos.engines.transformers import Transformers
    from engramos.parametric.probes.base import Probed
    from engramos.testing.probes import low_rank
    from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

    torch.set_num_threads(1)
    base = Transformers.of(tiny_model(num_layers=1), tiny_tokenizer(), weights="tiny").base
    probed = Probed(base, low_rank(base, 0.1), LESSON)
    measured = {metric for name in ROLE.names() for metric in ROLE.make(name).run(probed).metrics}
    for name in NAMES:
        assert profile(name).bounds.keys() <= measured
        assert set(profile(name).required) <= profile(name).bounds.keys()
