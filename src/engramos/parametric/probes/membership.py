"""Whether one can tell what was taught by how likely the adapter finds it."""

from collections.abc import Sequence
from dataclasses import dataclass

from engramos.parametric.facts import Fact
from engramos.parametric.probes._asking import check_positive, normalised
from engramos.parametric.probes._reading import question_row, read
from engramos.parametric.probes.base import Probe, Probed, Probing


@dataclass(frozen=True, slots=True)
class Membership(Probe):
    """Compares true answers with those of other facts, which might as well have been taught for the same question.

    Every answer of a relation is asked both as a true one and as another's, so that it does not matter which words are
    likely by themselves.

    Metrics, of mean log probabilities of an answer's tokens with the adapter on:

    - `membership_auc`: in what share of pairs a true answer is likelier than another's; 0.5 where nothing is known;
    - `membership_auc_base`: the same for the base model alone;
    - `membership_gain`: how much likelier true answers are than others, by how much more than for the base model; mean,
      in nats a token.

    Source: membership by loss, https://arxiv.org/abs/1709.01604.
    Differs: non-members are the same questions with answers of other facts, of the same relation where there are such.
    """

    others: int = 1
    """Answers of how many other facts are compared with each true one, 1 or more."""

    def __post_init__(self) -> None:
        check_positive(others=self.others)

    def run(self, probed: Probed) -> Probing:
        """Return how far true answers stand out; nothing where all facts have one answer."""
        facts = probed.lesson.facts
        pairs = [(fact, answer) for fact in facts for answer in comparable(fact, facts, self.others)]
        members = [fact for fact in facts if comparable(fact, facts, 1)]
        if not pairs:
            return Probing({})
        asked = [(fact.question, fact.answer) for fact in members]
        asked += [(fact.question, answer) for fact, answer in pairs]
        reads = read(probed, [question_row(probed.base, question, answer) for question, answer in asked])
        on = [float(one.on[:-1].double().mean()) for one in reads]
        alone = [float(one.base[:-1].double().mean()) for one in reads]
        split = len(members)
        gain = (_mean(on[:split]) - _mean(on[split:])) - (_mean(alone[:split]) - _mean(alone[split:]))
        metrics = {
            "membership_auc": auc(on[:split], on[split:]),
            "membership_auc_base": auc(alone[:split], alone[split:]),
            "membership_gain": gain,
        }
        return Probing(metrics)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def comparable(fact: Fact, facts: tuple[Fact, ...], num: int) -> list[str]:
    """Return up to `num` other answers, those after the fact first, of the same relation where there are such."""
    at = facts.index(fact)
    following = [*facts[at + 1 :], *facts[:at]]
    alike = [one for one in following if fact.relation and one.relation == fact.relation]
    for pool in (alike, following):
        answers = {normalised(one.answer): one.answer for one in pool}
        answers.pop(normalised(fact.answer), None)
        if answers:
            return list(answers.values())[:num]
    return []


def auc(inside: list[float], outside: list[float]) -> float:
    """Return in what share of pairs the first is greater; equal ones count half."""
    wins = sum((one > other) + 0.5 * (one == other) for one in inside for other in outside)
    return wins / (len(inside) * len(outside))
