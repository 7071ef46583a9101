"""Whether the facts are answered as they were taught."""

from dataclasses import dataclass

from engramos.parametric.probes._asking import exact_matches, listed
from engramos.parametric.probes.base import Probe, Probed, Probing


@dataclass(frozen=True, slots=True)
class Recall(Probe):
    """Asks each fact's question in the chat template and compares the free answer.

    Equal is what differs in case, spaces and punctuation at the end alone. Recall never activates an adapter by itself:
    one that answers every question with a taught answer has it too.

    Metrics: `recall` through the gate, `recall_on` with the adapter on.

    Source: exact match of open question answering, as in SQuAD, https://arxiv.org/abs/1606.05250, section 6.1.
    Differs: articles count; only punctuation at the end does not.
    """

    def run(self, probed: Probed) -> Probing:
        """Return how many facts are recalled, and the questions of those that are not."""
        pairs = [(fact, fact.question) for fact in probed.lesson.facts]
        if not pairs:
            return Probing({})
        gated, on, lines = exact_matches(probed, pairs)
        return Probing({"recall": gated, "recall_on": on}, listed(lines))
