"""Routing by what is asked: how well an embedder tells wordings of one question from other questions about a subject.

`python -m benchmarks.routing [--embedder NAME] [--data DIR] [--out FILE]` compares wordings that nobody trained, and
other questions about the same subject, with the questions of an adapter: as they are, and with each of some words in
the place of the names. It says which share of pairs stands in the right order, and what passes the measured floor.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from benchmarks.stamp import stamp

from engramos.config import load
from engramos.embedders import ROLE
from engramos.evals.parametric.invented import invented
from engramos.parametric.facts import Fact
from engramos.parametric.phrasings import with_phrasings
from engramos.parametric.routers._likeness import ANYBODY, floor_of
from engramos.parametric.routers.base import Embed

WORDS = ("", ANYBODY, "X", "he", "it")
"""In the place of names; nothing for names as they are."""
SEEDS = 5
NUM_ZSRE, NUM_OTHERS = 300, 3


@dataclass(frozen=True)
class Case:
    """What an adapter was taught about one subject, and what is asked."""

    names: tuple[str, ...]
    taught: tuple[str, ...]
    wordings: tuple[str, ...]
    """That ask what was taught."""
    others: tuple[str, ...]
    """That do not."""


def invented_cases(seed: int) -> list[Case]:
    """Return fifty invented facts, five a person."""
    found = invented(50, seed)
    cases = []
    for subject in dict.fromkeys(fact.subject for fact in found.facts):
        facts = [fact for fact in found.facts if fact.subject == subject]
        taught = tuple(text for fact in facts for text in fact.questions)
        wordings = tuple(text for fact in facts for text in fact.held_out)
        others = tuple(text for text in found.unseen_relations if subject in text)
        cases.append(Case(facts[0].names, taught, wordings, others))
    return cases


def zsre_cases(path: Path) -> list[Case]:
    """Return questions of zsRE with a rewording each, and questions of other subjects with the name exchanged."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows = [row for row in rows if row["subject"] in row["src"] and row["subject"] in row["rephrase"]][:NUM_ZSRE]
    drawn = Random(0)
    cases = []
    for row in rows:
        name = row["subject"]
        fact = with_phrasings(Fact(name, row["src"], row["answers"][0]), 2)
        others = (drawn.choice(rows) for _ in range(NUM_OTHERS))
        asked = tuple(one["src"].replace(one["subject"], name) for one in others if one is not row)
        cases.append(Case((name,), fact.questions, (row["rephrase"],), asked))
    return cases


def nearest(cases: Sequence[Case], embed: Embed, word: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the cosine of each wording, and of each other question, with the nearest that was taught."""
    wordings, others = [], []
    for case in cases:
        form = _form(case.names, word)
        vectors = embed([form(text) for text in (*case.taught, *case.wordings, *case.others)])
        best = (vectors @ vectors[: len(case.taught)].T).max(axis=1)[len(case.taught) :]
        wordings += list(best[: len(case.wordings)])
        others += list(best[len(case.wordings) :])
    return np.array(wordings), np.array(others)


def _form(names: Sequence[str], word: str) -> Callable[[str], str]:
    def form(text: str) -> str:
        for name in sorted(names, key=len, reverse=True) if word else ():
            text = text.replace(name, word)
        return text

    return form


def measured(cases: Sequence[Case], embed: Embed, floor: float) -> dict[str, float]:
    """Return the share of pairs in the right order for each word, and what passes the floor."""
    found: dict[str, float] = {}
    for word in WORDS:
        near, far = nearest(cases, embed, word)
        found[f"order.{word or 'as_they_are'}"] = round(float(np.mean(near[:, None] > far[None])), 4)
        if word == ANYBODY:
            for name, least in (("floor", floor), ("floor-.01", floor - 0.01), ("floor+.01", floor + 0.01)):
                found[f"{name}.wordings"] = round(float(np.mean(near >= least)), 4)
                found[f"{name}.others"] = round(float(np.mean(far >= least)), 4)
    return found


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedder", default="bge_small")
    parser.add_argument("--data", type=Path, default=load().data)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    embedder = ROLE.parse(given.embedder)

    def embed(texts: Sequence[str]) -> np.ndarray:
        return np.asarray(embedder.embed(list(texts)), dtype=np.float32)

    floor = floor_of(embed)
    sets = {"invented": [case for seed in range(SEEDS) for case in invented_cases(seed)]}
    path = given.data / "knowledge_editing" / "zsre_dev500.jsonl" if given.data else None
    if path is not None and path.exists():
        sets["zsre"] = zsre_cases(path)
    metrics = {name: measured(cases, embed, floor) for name, cases in sets.items()}
    settings = {"embedder": given.embedder, "seeds": SEEDS, "left_out": [] if "zsre" in sets else ["zsre"]}
    result = {"benchmark": "routing", "settings": settings | stamp(), "floor": round(floor, 4), "metrics": metrics}
    print(json.dumps(result, indent=1))
    if given.out is not None:
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
