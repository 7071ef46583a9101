"""Whether the facts are answered when they are asked for in other words."""

from dataclasses import dataclass

from engramos.parametric.probes._asking import exact_matches, listed
from engramos.parametric.probes.base import Probe, Probed, Probing


@dataclass(frozen=True, slots=True)
class Paraphrase(Probe):
    """Asks each fact's other questions, as `recall` does; those that were trained are counted apart.

    Metrics: `paraphrase` and `paraphrase_on` of held-out questions, through the gate and with the adapter on;
    `trained_paraphrase` of those that were trained, through the gate.

    Source: paraphrase success of MEMIT, https://arxiv.org/abs/2210.07229, section 5.
    Differs: the free answer is compared, not the probability of one answer with that of another.
    """

    def run(self, probed: Probed) -> Probing:
        """Return how many questions are answered as taught, and those held out that are not."""
        held_out = [(fact, question) for fact in probed.lesson.facts for question in fact.held_out]
        trained = [(fact, question) for fact in probed.lesson.facts for question in fact.paraphrases]
        metrics: dict[str, float] = {}
        lines: list[str] = []
        if held_out:
            metrics["paraphrase"], metrics["paraphrase_on"], lines = exact_matches(probed, held_out)
        if trained:
            metrics["trained_paraphrase"], _, _ = exact_matches(probed, trained)
        return Probing(metrics, listed(lines))
