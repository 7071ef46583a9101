"""Conversations and questions to measure with: made from a seed, or real turns with words exchanged.

Only numpy and the standard library are used, so that a peer's environment can make the very same texts.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

TURNS_A_SESSION = 20
NUM_WORDS = 15_000
START = datetime(2021, 1, 1, 9, tzinfo=UTC)
SPEAKERS = ("Ana", "Bruno")
COMMON = """the to a and i it of you that in is was for my on so with have but be me this at we are just not like
do what all as had they about really know think would out up one can there been time if get from she he how good
your them when some more will no has been were very did more by who an or her his than then now only over""".split()
"""What Zipf's first ranks are in English, so that the share of stop words is right."""
OPENINGS = ("What did {speaker} say about {words}?", "When did {speaker} talk of {words}?", "Who mentioned {words}?")
TIMES = ("", "", "", "", " in {at:%B %Y}", " on {at.day} {at:%B %Y}")
EXCHANGED = 0.3
"""Share of the words of a real turn that are exchanged."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing that was said."""

    text: str
    speaker: str
    session: str
    at: datetime


def vocabulary(seed: int) -> list[str]:
    """Return words by rank: common English ones, then made-up ones of two to four syllables."""
    random = np.random.default_rng([seed, 1])
    syllables = [first + vowel + last for first in "bdfgklmnprstv" for vowel in "aeiou" for last in ("", "n", "r", "s")]
    made: dict[str, None] = dict.fromkeys(COMMON)
    while len(made) < NUM_WORDS:
        for count in random.integers(2, 5, NUM_WORDS).tolist():
            made["".join(syllables[at] for at in random.integers(0, len(syllables), count))] = None
    return list(made)[:NUM_WORDS]


def conversation(seed: int, num: int, data: Path | None = None) -> Iterator[Turn]:
    """Yield `num` turns of one conversation in sessions of 20, two speakers in turn.

    Args:
        seed: the same seed gives the same turns.
        num: how many.
        data: a folder with `locomo/*.json`: its turns with 30 % of the words exchanged; None makes sentences.
    """
    lines = _made_lines(seed, num) if data is None else _real_lines(seed, num, data)
    for number, (speaker, text) in enumerate(lines):
        session, place = divmod(number, TURNS_A_SESSION)
        at = START + timedelta(hours=8 * session, seconds=40 * place)
        yield Turn(text, speaker, f"session-{session}", at)


def questions(seed: int, turns: list[Turn], num: int) -> list[tuple[str, int]]:
    """Return questions, each with the number of the turn that it is about."""
    random = np.random.default_rng([seed, 2])
    made = []
    for about in random.integers(0, len(turns), num).tolist():
        words = [word for word in re.findall(r"\w+", turns[about].text) if word.lower() not in COMMON]
        at = int(random.integers(0, max(1, len(words) - 3)))
        opening = OPENINGS[int(random.integers(0, len(OPENINGS)))]
        asked = opening.format(speaker=turns[about].speaker, words=" ".join(words[at : at + 4]))
        when = TIMES[int(random.integers(0, len(TIMES)))].format(at=turns[about].at)
        made.append((f"{asked.rstrip('?')}{when}?", about))
    return made


def _made_lines(seed: int, num: int) -> Iterator[tuple[str, str]]:
    words = np.array(vocabulary(0), dtype=object)
    random = np.random.default_rng([seed, 3])
    # fitted to LoCoMo, where 24,571 words are 2,238 different ones and 45,993 are 3,228
    chances = (np.arange(1, NUM_WORDS + 1) + 10.0) ** -1.5
    bounds = np.cumsum(chances / chances.sum())
    for start in range(0, num, 1_000):
        lengths = np.clip(random.lognormal(3.1, 0.5, 1_000), 4, 80).astype(int)[: num - start]
        drawn = words[np.minimum(np.searchsorted(bounds, random.random(int(lengths.sum()))), NUM_WORDS - 1)]
        ends = np.cumsum(lengths)
        for place, (end, length) in enumerate(zip(ends.tolist(), lengths.tolist(), strict=True)):
            yield SPEAKERS[(start + place) % 2], " ".join(drawn[end - length : end]).capitalize() + "."


def _real_lines(seed: int, num: int, data: Path) -> Iterator[tuple[str, str]]:
    path = min((data / "locomo").glob("*.json"))
    samples = json.loads(path.read_text(encoding="utf-8"))
    lines = [
        (turn["speaker"], turn["text"].split())
        for sample in samples
        for name, turns in sample["conversation"].items()
        if isinstance(turns, list)
        for turn in turns
    ]
    pool = np.array([word for _, words in lines for word in words], dtype=object)
    random = np.random.default_rng([seed, 4])
    for number in range(num):
        speaker, words = lines[number % len(lines)]
        drawn = pool[random.integers(0, len(pool), len(words))]
        kept = random.random(len(words)) >= EXCHANGED
        yield speaker, " ".join(np.where(kept, np.array(words, dtype=object), drawn)) or "Yes."
