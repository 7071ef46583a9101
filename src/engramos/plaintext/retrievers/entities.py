"""Retrieval by the names in a question."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engramos.errors import ConfigError
from engramos.plaintext.index import NONE, SearchIndex
from engramos.plaintext.query import Query
from engramos.plaintext.retrievers._texts import holders, idf, spread, words_to_terms
from engramos.plaintext.retrievers.base import Retriever

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_SENTENCE_END = re.compile(r"[.!?:]\s*[\"'“”‘’(]*\Z")


@dataclass(frozen=True, slots=True)
class Entities(Retriever):
    """How many of the question's names a row, its speaker and the turns beside it name.

    Names are runs of words with a capital letter, and single words that very few rows have. Each name is one facet of
    the question; a row that covers many facets stands far above rows that cover one.

    Source: entity linking of queries as in HippoRAG, https://arxiv.org/abs/2405.14831.
    Differs: spelling and rarity find names, and no model.
    """

    power: float = 2.0
    """How far rows that cover much stand above others: the covered share to this power, above 0."""
    most_share: float = 0.005
    """Words without a capital letter are names where no more than this share of rows has them, in [0, 1]."""
    beside: float = 0.5
    """How much a mention in the turn before or after counts, in [0, 1]."""
    speaking: float = 0.7
    """How much it counts that a named person speaks, in [0, 1]."""

    def __post_init__(self) -> None:
        if self.power <= 0:
            raise ConfigError(f"power is {self.power}: give a number above 0")
        if not all(0 <= value <= 1 for value in (self.most_share, self.beside, self.speaking)):
            raise ConfigError("entities needs most_share, beside and speaking in [0, 1]")

    def score(self, query: Query, index: SearchIndex, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return covered shares in [0, 1]; None where the question has no name that a row or a speaker has."""
        facets = self._facets(query, index)
        total, covered = 0.0, np.zeros(len(index), dtype=np.float32)
        for facet in facets:
            terms = np.array(facet, dtype=np.uint32)
            spreads = spread(index, terms)
            speaks = self._speaks(index, facet)
            if not spreads.any() and speaks is None:
                continue
            rarity = idf(index, spreads)
            numbers, rows, _ = holders(index, terms)
            named = np.bincount(rows, rarity[numbers] / rarity.sum(), len(index)).astype(np.float32)
            worth = float(rarity.max())
            if speaks is not None:
                named = np.maximum(named, speaks)
            covered += np.float32(worth) * self._with_neighbours(index, named)
            total += worth
        if not total:
            return None
        covered[~index.alive] = 0.0
        covered = np.minimum(covered / np.float32(total), 1.0) ** np.float32(self.power)
        return covered if covered.any() else None

    def _facets(self, query: Query, index: SearchIndex) -> list[tuple[int, ...]]:
        """Return the names of the question, each as its terms, no two alike."""
        found: dict[tuple[int, ...], None] = {}
        run: list[int] = []
        end = 0
        most = max(1.0, self.most_share * index.num_alive)
        for match in _WORD.finditer(query.text):
            term = next(iter(words_to_terms([match.group().lower()])), None)
            is_first = match.start() == 0 or _SENTENCE_END.search(query.text, end, match.start()) is not None
            has_capital = match.group()[0].isupper() or match.group()[0].isdigit()
            # a capital letter at the start of a sentence says nothing
            is_name = term is not None and has_capital and not is_first
            if run and (not is_name or query.text[end : match.start()].strip()):
                found[tuple(dict.fromkeys(run))] = None
                run = []
            end = match.end()
            if is_name:
                run.append(term)
            elif term is not None and 0 < spread(index, np.array([term], dtype=np.uint32))[0] <= most:
                found[(term,)] = None
        if run:
            found[tuple(dict.fromkeys(run))] = None
        return list(found)

    def _speaks(self, index: SearchIndex, facet: tuple[int, ...]) -> np.ndarray | None:
        """Return what each row gets for its speaker; None where the facet names no speaker."""
        named = [code for name, code in index.speakers.codes.items() if {*facet} & {*words_to_terms(name.split())}]
        if not named:
            return None
        # the last place is for rows without a speaker, whose number is -1
        worth = np.zeros(len(index.speakers.codes) + 1, dtype=np.float32)
        worth[named] = self.speaking
        return worth.take(index.speaker, mode="wrap")

    def _with_neighbours(self, index: SearchIndex, named: np.ndarray) -> np.ndarray:
        """Return the greatest of a row's own mention and those of the turns beside it, which count less."""
        if not self.beside:
            return named
        padded = np.append(named, np.float32(0))
        best = named
        for links in (index.before, index.after):
            best = np.maximum(best, np.float32(self.beside) * padded[np.where(links == NONE, len(named), links)])
        return best
