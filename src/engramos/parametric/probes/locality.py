"""Whether all that was not taught stays as it was."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from engramos.parametric.probes._asking import check_positive, listed, named
from engramos.parametric.probes._reading import Read, question_row, read, text_rows
from engramos.parametric.probes.base import Probe, Probed, Probing


@dataclass(frozen=True, slots=True)
class Locality(Probe):
    """Compares what the base model expects with and without the adapter, on `lesson.retained` and `lesson.common`.

    Metrics, through the gate; with `_on` behind their names: with the adapter on everywhere:

    - `ppl_drift`: by what share the perplexity of the retained texts grows; the gate is asked with the whole text;
    - `text_agreement`: share of the retained texts' tokens after which the likeliest token stays the same;
    - `top1_agreement`: share of the common questions whose answers begin with the same token;
    - `first_token_kl`: Kullback-Leibler divergence of that token's distribution from the base model's, mean, in nats.

    Source: locality (specificity) of ROME, https://arxiv.org/abs/2202.05262, section 3.4.
    Differs: texts and questions about anything, not neighbours of the facts; distributions, not one answer's rank.
    """

    window: int = 128
    """Into parts of how many tokens the retained texts are cut, 2 or more."""
    tokens_a_text: int = 512
    """How many tokens of each retained text are read, 2 or more."""

    def __post_init__(self) -> None:
        check_positive(window=self.window - 1, tokens_a_text=self.tokens_a_text - 1)

    def run(self, probed: Probed) -> Probing:
        """Return how far texts and answers have moved, and the questions that are answered otherwise."""
        texts, (common, lines) = self._texts(probed), self._common(probed)
        return Probing(texts | common, listed(lines))

    def _texts(self, probed: Probed) -> dict[str, float]:
        """Return the metrics of the retained texts."""
        rows, opened = [], []
        for text in probed.lesson.retained:
            found = text_rows(probed.base, text, self.window, self.tokens_a_text)
            is_open = bool(found) and bool(probed.gate(text))
            rows += found
            opened += [is_open] * len(found)
        if not rows:
            return {}
        reads = read(probed, rows)
        gated_drift, gated_agreement = _moved(reads, opened)
        drift, agreement = _moved(reads, [True] * len(reads))
        return {
            "ppl_drift": gated_drift,
            "ppl_drift_on": drift,
            "text_agreement": gated_agreement,
            "text_agreement_on": agreement,
        }

    def _common(self, probed: Probed) -> tuple[dict[str, float], list[str]]:
        """Return the metrics of the common questions, and those whose answers begin otherwise through the gate."""
        questions = probed.lesson.common
        if not questions:
            return {}, []
        reads = read(probed, [question_row(probed.base, question) for question in questions])
        opened = [bool(probed.gate(question)) for question in questions]
        same = [bool(one.agrees[0]) for one in reads]
        kl = [float(one.kl[0]) for one in reads]
        wrong = [at for at, is_open in enumerate(opened) if is_open and not same[at]]
        metrics = {
            "top1_agreement": 1 - len(wrong) / len(questions),
            "top1_agreement_on": sum(same) / len(questions),
            "first_token_kl": sum(one for one, is_open in zip(kl, opened, strict=True) if is_open) / len(questions),
            "first_token_kl_on": sum(kl) / len(questions),
        }
        return metrics, [f"answered otherwise: {named(questions[at], probed.lesson.facts)}" for at in wrong]


def _moved(reads: Sequence[Read], opened: Sequence[bool]) -> tuple[float, float]:
    """Return the growth of perplexity and the share of tokens that stay, the adapter attached where it is opened."""
    before = torch.cat([one.base for one in reads]).double()
    after = torch.cat([one.on if is_open else one.base for one, is_open in zip(reads, opened, strict=True)]).double()
    stays = torch.cat([one.agrees | (not is_open) for one, is_open in zip(reads, opened, strict=True)])
    # beyond that it is broken, and a larger number would say nothing more
    growth = min(float((before - after).mean()), 50.0)
    return math.expm1(growth), float(stays.double().mean())
