"""The rows of the table: their names, and what is refused."""

import pytest

from engramos.activation.policies import ROLE
from engramos.errors import ConfigError, UnknownMethodError
from engramos.evals.kv.rows import (
    DEFAULT_CODECS,
    DEFAULT_KEPT,
    DEFAULT_POLICIES,
    DEFAULT_RECALLS,
    label,
    of_policies,
    percent,
    rows_of,
)


def names(*given, **more) -> list[str]:
    return [row.name for row in rows_of(*given, **more).rows]


def test_the_full_cache_comes_first_then_codecs_policies_and_recall() -> None:
    found = names(["snapkv", "knorm"], [0.1, 0.25], ["int8"], ["quest"])
    assert found == [
        "full",
        "int8",
        "snapkv.kept10",
        "snapkv.kept25",
        "knorm.kept10",
        "knorm.kept25",
        "quest.resident25",
    ]


def test_crossed_codecs_follow_each_policy_and_ratio() -> None:
    found = names(["snapkv"], [0.5], ["int8", "int4"], [], is_crossed=True)
    assert found == ["full", "int8", "int4", "snapkv.kept50", "snapkv.kept50.int8", "snapkv.kept50.int4"]


def test_all_defaults_are_methods() -> None:
    assert len(names(DEFAULT_POLICIES, DEFAULT_KEPT, DEFAULT_CODECS, DEFAULT_RECALLS)) == 1 + 3 + 27 + 1


def test_a_method_with_parameters_is_named_by_them_without_a_dot() -> None:
    assert label(ROLE, '{ method = "snapkv", window = 16 }') == "snapkv(window=16)"
    assert label(ROLE, '{ method = "h2o", recent_share = 0.5 }') == "h2o(recent_share=0_5)"
    assert [percent(one) for one in (0.25, 0.125, 0.9)] == ["25", "12_5", "90"]
    found = rows_of(["snapkv", '{ method = "snapkv", window = 16 }'], [0.5], [], [])
    assert [name for name, _ in of_policies(found.rows, found.policy_names)] == ["snapkv", "snapkv(window=16)"]
    assert found.policies[found.rows[2].policy].window == 16


def test_a_policy_that_cuts_no_prompt_is_left_out_with_its_reason() -> None:
    found = rows_of(["raas", "full", "knorm"], [0.5], [], [])
    assert [row.name for row in found.rows] == ["full", "knorm.kept50"]
    assert found.policy_names == ("knorm",)
    assert len(found.left_out) == 1
    assert "raas" in found.left_out[0]


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.5, float("nan")])
def test_a_kept_ratio_that_keeps_nothing_or_all_is_refused(ratio: float) -> None:
    with pytest.raises(ConfigError, match="kept ratio"):
        rows_of(["knorm"], [ratio], [], [])


def test_the_same_row_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"knorm\.kept50"):
        rows_of(["knorm", "knorm"], [0.5], [], [])


@pytest.mark.parametrize("given", [(["snapkvv"], [], []), ([], ["int9"], []), ([], [], ["qest"])])
def test_an_unknown_method_is_refused_with_the_known_ones(given) -> None:
    policies, codecs, recalls = given
    with pytest.raises(UnknownMethodError, match="choose one of"):
        rows_of(policies, [0.5], codecs, recalls)
