"""How near a question is to those that an adapter answers, and how near is near enough."""

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np

from engramos.parametric.phrasings import alike
from engramos.parametric.routers._names import Names, words_of
from engramos.parametric.routers.base import Embed

ANYBODY = "Sam"
"""Stands for every subject: a short common name was measured to tell relations apart better than no name, a letter or a
pronoun."""
UNLIKE = 0.93
"""The share of pairs of questions with different meanings that are less alike than the floor."""
TOLD_APART = 0.9
"""The least share of pairs that an embedder must order rightly, for its cosines to decide anything."""
_FLOORS: WeakKeyDictionary[Embed, float] = WeakKeyDictionary()


def nearness(question: str, taught: Sequence[str], embed: Embed) -> float:
    """Return the cosine of a question and the nearest one that was taught, in [0, 1]; 0 where there is none."""
    if not taught:
        return 0.0
    vectors = embed([question, *dict.fromkeys(taught)])
    return min(1.0, max(0.0, float(np.max(vectors[1:] @ vectors[0]))))


def nameless(text: str, names: Names) -> str:
    """Return a text with the same name in the place of each that it holds: what is asked, whomever it is about."""
    words = words_of(text)
    found, end = [], 0
    for hit in names.found_in(text):
        first, last = words[hit.start], words[hit.start + hit.length - 1]
        if first.start >= end:
            found += [text[end : first.start], ANYBODY]
            end = last.end
    return "".join((*found, text[end:]))


def floor_of(embed: Embed) -> float:
    """Return from which cosine on two nameless questions mean the same to an embedder; 0 where it cannot tell.

    Source: ours, decision 0018: questions of fifteen relations, most of them in three wordings.
    """
    groups = alike(ANYBODY)
    vectors = embed([text for group in groups for text in group])
    meaning = np.array([number for number, group in enumerate(groups) for _ in group])
    one, other = np.triu_indices(len(meaning), 1)
    cosines, is_same = np.sum(vectors[one] * vectors[other], axis=1), meaning[one] == meaning[other]
    near, far = cosines[is_same], cosines[~is_same]
    if np.mean(near[:, None] > far[None]) < TOLD_APART:
        return 0.0
    return max(0.0, float(np.quantile(far, UNLIKE)))


def known_floor(embed: Embed) -> float:
    """Return `floor_of`, measured once for each embedder that is in use."""
    if embed not in _FLOORS:
        _FLOORS[embed] = floor_of(embed)
    return _FLOORS[embed]
