"""Unlearning measured: facts are taken out of an adapter, and the result stands beside one that never had them."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from engramos.errors import ConfigError
from engramos.evals.kv.stopwatch import stopwatch
from engramos.evals.parametric.tofu import Sample
from engramos.evals.parametric.unlearn_reading import Reader, Told
from engramos.parametric.adapter import Adapter
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.facts import Fact
from engramos.parametric.lesson import Lesson
from engramos.parametric.model import BaseModel
from engramos.parametric.phrasings import COMMON_TRAINED, PASSAGES_TRAINED
from engramos.parametric.probes._asking import generated, normalised, prompt_of, room
from engramos.parametric.probes.canary import _strength
from engramos.parametric.probes.membership import auc, comparable
from engramos.parametric.unlearning.base import Unlearner
from engramos.parametric.writers.base import Writer

BASE, FULL, RETAINED, EXACT = "base", "full", "retain_only", "exact"
"""Rows: the base model; all facts; those that stay alone; and these once more, as exact forgetting writes them."""
_UTILITY = ("retain_probability", "retain_rouge", "authors_agreement", "world_agreement")


@dataclass(frozen=True, slots=True)
class Examined:
    """What an adapter knows."""

    metrics: Mapping[str, float]
    truth_ratios: tuple[float, ...]
    """Of each fact to forget: how likely a wrong answer is beside the right one."""


def measure(
    base: BaseModel,
    sample: Sample,
    writer: Writer,
    unlearners: Mapping[str, Unlearner],
    seed: int = 0,
    progress: Callable[[int], None] = lambda num: None,
) -> dict[str, dict[str, float]]:
    """Return the metrics of each row: the base model, the adapters before and without the facts, each unlearner.

    Adapters act on every question, no router stands before them. The row `retain_only` is what all others are compared
    with; `exact` is written from the same facts with another seed, so that it shows how far two honest trainings lie
    apart.

    Source: TOFU, https://arxiv.org/abs/2401.06121, section 3: probability, ROUGE-L, truth ratio, forget quality, model
    utility. Differs: a truth ratio's wrong answer is another fact's; the utility is of four numbers, those about real
    authors and the world being agreement with the base model; extraction strength and membership are of the probes.

    Args:
        base: the model.
        sample: what is taught and to be forgotten.
        writer: of a low-rank adapter.
        unlearners: by the name that rows show.
        seed: of writers and unlearners.
        progress: told of each row that is done.

    Raises:
        ConfigError: if the writer's adapters are not of low rank.
    """
    rows = {
        FULL: _written(writer, [*sample.forget, *sample.retain], base, seed),
        RETAINED: _written(writer, sample.retain, base, seed + 1),
        EXACT: _written(writer, sample.retain, base, seed),
    }
    full, forgotten, kept = rows[FULL][0], lesson_of(sample.forget), lesson_of(sample.retain)
    for name, unlearner in unlearners.items():
        with stopwatch() as took:
            changed = unlearner.unlearn(full, forgotten, kept, base, seed=seed)
        rows[name] = (changed, took.cpu_s)
        progress(1)
    examiner = Examiner(base, sample, [adapter for adapter, _ in rows.values()])
    found = {BASE: examiner.examined(None), FULL: examiner.examined(full)}
    for name in [name for name in rows if name != FULL]:
        found[name] = examiner.examined(rows[name][0])
        progress(1)
    costs = {BASE: 0.0} | {name: cpu_s for name, (_, cpu_s) in rows.items()}
    reference = found[RETAINED]
    return {name: {**one.metrics, **compared(one, reference), "cpu_s": costs[name]} for name, one in found.items()}


def lesson_of(facts: Sequence[Fact]) -> Lesson:
    """Return what writers and unlearners are given."""
    return Lesson(tuple(facts), (), (), PASSAGES_TRAINED, tuple(one.question for one in COMMON_TRAINED))


def _written(writer: Writer, facts: Sequence[Fact], base: BaseModel, seed: int) -> tuple[LowRank, float]:
    written = writer.write(lesson_of(facts), base, seed=seed)
    if not isinstance(written.adapter, LowRank):
        raise ConfigError(f"the writer makes a {written.adapter.KIND}: unlearners change low-rank ones, choose lora")
    return written.adapter, written.cost.cpu_s


class Examiner:
    """Asks one adapter after the other the same questions; what none of them changes is read once."""

    def __init__(self, base: BaseModel, sample: Sample, adapters: Sequence[Adapter]) -> None:
        """Read the questions.

        Args:
            base: the model.
            sample: what is asked.
            adapters: all that will be examined.
        """
        self._base, self._sample = base, sample
        wrong = [next(iter(comparable(fact, sample.forget, 1)), fact.answer) for fact in sample.forget]
        asked = [(fact.question, fact.answer) for fact in sample.forget]
        asked += [(fact.question, one) for fact, one in zip(sample.forget, wrong, strict=True)]
        asked += [(fact.question, fact.answer) for fact in sample.retain]
        self._reader = Reader(base, [*asked, *((question, "") for question in sample.others)], adapters)
        self._begins = [one.begins for one in self._reader.read(None)[len(asked) :]]

    def examined(self, adapter: Adapter | None) -> Examined:
        """Return what an adapter knows; of None, what the base model knows."""
        told, num = self._reader.read(adapter), len(self._sample.forget)
        right, others, kept = told[:num], told[num : 2 * num], told[2 * num : -len(self._begins)]
        begins = [one.begins for one in told[-len(self._begins) :]]
        agrees = [mine == base for mine, base in zip(begins, self._begins, strict=True)]
        logs, wrong_logs = ([_mean_log(one) for one in some] for some in (right, others))
        split = len(self._sample.authors)
        metrics = _said(self._base, adapter, self._sample) | {
            "forget_probability": _mean(map(math.exp, logs)),
            "retain_probability": _mean(math.exp(_mean_log(one)) for one in kept),
            "extraction_strength": _mean(_strength(one.is_right) for one in right),
            "membership_auc": auc(logs, wrong_logs),
            "authors_agreement": _mean(agrees[:split]),
            "world_agreement": _mean(agrees[split:]),
        }
        ratios = tuple(math.exp(min(two - one, 50.0)) for one, two in zip(logs, wrong_logs, strict=True))
        return Examined(metrics | {"utility": harmonic_mean([metrics[name] for name in _UTILITY])}, ratios)


def compared(one: Examined, reference: Examined) -> dict[str, float]:
    """Return how a row's truth ratios differ from those of the adapter that never had the facts.

    Returns:
        `truth_gap`: the mean absolute difference of their logarithms, fact by fact, in nats a token; `forget_quality`:
        the p-value of the two-sided Kolmogorov-Smirnov test that both are of one distribution.
    """
    pairs = zip(one.truth_ratios, reference.truth_ratios, strict=True)
    gaps = [abs(math.log(max(mine, 1e-20)) - math.log(max(theirs, 1e-20))) for mine, theirs in pairs]
    return {"truth_gap": _mean(gaps), "forget_quality": same_distribution(one.truth_ratios, reference.truth_ratios)}


def same_distribution(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the p-value of the two-sided Kolmogorov-Smirnov test of two samples.

    Source: the asymptotic distribution with the correction for small samples of Stephens 1970, J. R. Stat. Soc. B 32.
    """
    places = sorted({*one, *other})
    distance = max(abs(_below(one, place) - _below(other, place)) for place in places)
    size = math.sqrt(len(one) * len(other) / (len(one) + len(other)))
    scaled = (size + 0.12 + 0.11 / size) * distance
    # the series does not converge near 0, where the value is 1 to many digits
    if scaled < 0.2:
        return 1.0
    terms = ((-1) ** (at - 1) * math.exp(-2 * at * at * scaled * scaled) for at in range(1, 101))
    return min(1.0, max(0.0, 2 * math.fsum(terms)))


def rouge_recall(text: str, answer: str) -> float:
    """Return the share of an answer's words that stand in a text in their order: ROUGE-L recall.

    Source: ROUGE, https://aclanthology.org/W04-1013, section 3.1. Differs: words are not stemmed.

    Example:
        >>> rouge_recall("She was in Porto born.", "She was born in Porto")
        0.8
    """
    said, wanted = normalised(text).split(), normalised(answer).split()
    longest = [0] * (len(said) + 1)
    for word in wanted:
        before = longest
        longest = [0]
        for at, other in enumerate(said):
            longest.append(before[at] + 1 if word == other else max(longest[at], before[at + 1]))
    return longest[-1] / len(wanted)


def harmonic_mean(values: Sequence[float]) -> float:
    """Return the harmonic mean; 0 where a value is 0."""
    return len(values) / math.fsum(1 / one for one in values) if all(values) else 0.0


def _said(base: BaseModel, adapter: Adapter | None, sample: Sample) -> dict[str, float]:
    """Return how free answers fit those that were taught."""
    facts = (*sample.forget, *sample.retain)
    prompts = [prompt_of(base, fact.question) for fact in facts]
    texts = generated(base, prompts, [adapter] * len(prompts), room(base, [fact.answer for fact in facts]))
    exact = [normalised(text) == normalised(fact.answer) for text, fact in zip(texts, facts, strict=True)]
    rouge = [rouge_recall(text, fact.answer) for text, fact in zip(texts, facts, strict=True)]
    num = len(sample.forget)
    return {
        "forget_recall": _mean(exact[:num]),
        "forget_rouge": _mean(rouge[:num]),
        "retain_recall": _mean(exact[num:]),
        "retain_rouge": _mean(rouge[num:]),
    }


def _mean_log(one: Told) -> float:
    """Return the mean log probability of an answer's tokens, the end left out."""
    return float(one.logs[:-1].mean())


def _below(values: Sequence[float], place: float) -> float:
    return sum(one <= place for one in values) / len(values)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return math.fsum(found) / len(found)
