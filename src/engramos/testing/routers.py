"""What every router must keep to: run `check_router` over an instance, or each of `CHECKS` as a test of its own.

Nothing here needs a test framework: a check fails by an AssertionError. Questions are embedded by hashed words, so no
model is needed.

Example:
    >>> from engramos.parametric.routers.entity import Entity
    >>> check_router(Entity())
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from engramos.embedders.hashing import Hashing
from engramos.parametric.routers.base import Key, Router, Taught

EMBEDDER = Hashing(dims=1024)
ASKED: dict[str, tuple[str, ...]] = {
    "Ana Lima": ("Where does Ana Lima work?", "Who employs Ana Lima at present?"),
    "Project Falcon": ("In which harbour does Project Falcon dock?", "Who leads Project Falcon?"),
    "Dmitri Pelmira": ("What is Dmitri Pelmira allergic to?", "When was Dmitri Pelmira born?"),
    "Zoë": ("What instrument does Zoë play on Sundays?", "Which river flows behind the house of Zoë?"),
}
"""Subjects, each with an adapter of its own, and what its facts answer."""
UNRELATED = (
    "How many legs has a spider?",
    "Why do stars twinkle?",
    "please translate good morning into Welsh",
    "2 + 2 = ?",
    "¿Qué hora es?",
    "今日は何曜日ですか",
)
ODD = ("", " ", "?", "\n\t", "🙂" * 50, "a" * 30_000, "'s 's 's", "\u0301\u200d", "ﷺ")

Check = Callable[[Router], None]


def check_router(router: Router) -> None:
    """Run every check over a router."""
    for check in CHECKS:
        check(router)


def embed(texts: Sequence[str]) -> np.ndarray:
    """Return the vectors of texts."""
    return EMBEDDER.embed(list(texts))


def keys() -> tuple[Key, ...]:
    """Return one key for each subject."""
    return tuple(
        Key(f"adapter-{number}", (name,), partial(tuple, [Taught(text, (name,)) for text in asked]))
        for number, (name, asked) in enumerate(ASKED.items())
    )


def check_without_keys_nothing_is_found(router: Router) -> None:
    """No adapter, no answer."""
    for question in (*UNRELATED, *ODD, "Where does Ana Lima work?"):
        assert router.route(question, (), limit=3, embed=embed) == []


def check_an_unrelated_question_finds_nothing(router: Router) -> None:
    """A question that names no subject, and is like none that was learnt, goes to the base model."""
    for question in UNRELATED:
        assert router.route(question, keys(), limit=3, embed=embed) == [], question
        assert router.route(question, keys(), limit=3) == [], question


def check_a_learnt_question_finds_its_adapter(router: Router) -> None:
    """A question that was learnt, and names its subject, finds its adapter first, wherever its key stands."""
    for given in (keys(), keys()[::-1]):
        ids = {key.names[0]: key.adapter_id for key in given}
        for name, asked in ASKED.items():
            for question in asked:
                found = router.route(question, given, embed=embed)
                assert [one.adapter_id for one in found] == [ids[name]], question


def check_the_limit_is_obeyed(router: Router) -> None:
    """No more adapters than asked for, each once, the best first; of 0 none."""
    question = " ".join(asked[0] for asked in ASKED.values())
    for limit in (0, 1, 2, 3, 100):
        found = router.route(question, keys(), limit=limit, embed=embed)
        names = [one.adapter_id for one in found]
        assert len(names) <= limit, limit
        assert len(set(names)) == len(names), limit
        scores = [one.score for one in found]
        assert scores == sorted(scores, reverse=True), limit
    whole = router.route(question, keys(), limit=100, embed=embed)
    assert router.route(question, keys(), limit=2, embed=embed) == whole[:2]


def check_scores_and_reasons(router: Router) -> None:
    """A score lies in [0, 1], and each adapter is one of those given, with a reason."""
    for asked in ASKED.values():
        for one in router.route(asked[0], keys(), limit=5, embed=embed):
            assert 0.0 <= one.score <= 1.0, one
            assert one.why, one
            assert one.adapter_id in {key.adapter_id for key in keys()}, one


def check_the_same_comes_twice(router: Router) -> None:
    """The same question and keys give the same adapters, for a list and for a tuple of keys."""
    for asked in ASKED.values():
        first = router.route(asked[0], keys(), limit=3, embed=embed)
        assert router.route(asked[0], keys(), limit=3, embed=embed) == first
        assert router.route(asked[0], list(keys()), limit=3, embed=embed) == first


def check_a_key_that_is_gone_is_not_found(router: Router) -> None:
    """An adapter that is no longer among the keys is never named, though it was a moment ago."""
    given = list(keys())
    for name, asked in ASKED.items():
        before = router.route(asked[0], given, embed=embed)
        assert before, name
        given = [key for key in given if key.names != (name,)]
        after = router.route(asked[0], given, limit=5, embed=embed)
        assert before[0].adapter_id not in [one.adapter_id for one in after], name


def check_nothing_is_embedded_where_no_adapter_is_known(router: Router) -> None:
    """Embedding costs time: without keys there is nothing to compare."""
    calls: list[str] = []

    def counted(texts: Sequence[str]) -> np.ndarray:
        calls.extend(texts)
        return embed(texts)

    for question in (*UNRELATED, *ODD, "Where does Ana Lima work?"):
        assert router.route(question, (), limit=3, embed=counted) == []
    assert not calls


def check_odd_questions_and_keys_do_no_harm(router: Router) -> None:
    """Whatever a person types, and whatever is missing in a key, finds nothing and breaks nothing."""
    bare = (Key("bare"), Key("nameless", ("", " ", "?!", "🙂")), Key("empty", (), tuple))
    for question in (*ODD, *UNRELATED):
        assert router.route(question, keys(), limit=3, embed=embed) == [], question[:40]
        assert router.route(question, bare, limit=3, embed=embed) == [], question[:40]


CHECKS: tuple[Check, ...] = (
    check_without_keys_nothing_is_found,
    check_an_unrelated_question_finds_nothing,
    check_a_learnt_question_finds_its_adapter,
    check_the_limit_is_obeyed,
    check_scores_and_reasons,
    check_the_same_comes_twice,
    check_a_key_that_is_gone_is_not_found,
    check_nothing_is_embedded_where_no_adapter_is_known,
    check_odd_questions_and_keys_do_no_harm,
)
"""All promises."""
__all__ = ["ASKED", "CHECKS", "check_router", "embed", "keys"]
