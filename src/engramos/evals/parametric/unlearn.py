"""Unlearning measured: facts are taken out of an adapter, and the result stands beside one that never had them."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from engramos.errors import ConfigError
from engramos.evals.kv.stopwatch import stopwatch
from engramos.evals.parametric.tofu import Sample
from engramos.parametric.adapter import Adapter
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.facts import Fact
from engramos.parametric.lesson import Lesson
from engramos.parametric.model import BaseModel
from engramos.parametric.phrasings import COMMON_TRAINED, PASSAGES_TRAINED
from engramos.parametric.probes._asking import generated, normalised, prompt_of, room
from engramos.parametric.probes._reading import Read, question_row, read
from engramos.parametric.probes.base import Probed
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
    full, full_s = _written(writer, [*sample.forget, *sample.retain], base, seed)
    rows: dict[str, tuple[Adapter, float]] = {
        RETAINED: _written(writer, sample.retain, base, seed + 1),
        EXACT: _written(writer, sample.retain, base, seed),
    }
    for name, unlearner in unlearners.items():
        with stopwatch() as took:
            changed = unlearner.unlearn(full, lesson_of(sample.forget), lesson_of(sample.retain), base, seed=seed)
        rows[name] = (changed, took.cpu_s)
        progress(1)
    found = {BASE: examined(base, full, sample, is_base=True), FULL: examined(base, full, sample)}
    for name, (adapter, _) in rows.items():
        found[name] = examined(base, adapter, sample)
        progress(1)
    costs = {name: cpu_s for name, (_, cpu_s) in rows.items()} | {FULL: full_s, BASE: 0.0}
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


def examined(base: BaseModel, adapter: Adapter, sample: Sample, *, is_base: bool = False) -> Examined:
    """Return what an adapter knows, or what the base model knows without it."""
    wrong = [next(iter(comparable(fact, sample.forget, 1)), fact.answer) for fact in sample.forget]
    rows = [question_row(base, fact.question, fact.answer) for fact in sample.forget]
    rows += [question_row(base, fact.question, one) for fact, one in zip(sample.forget, wrong, strict=True)]
    rows += [question_row(base, fact.question, fact.answer) for fact in sample.retain]
    rows += [question_row(base, question) for question in (*sample.authors, *sample.world)]
    reads = read(Probed(base, adapter, Lesson(sample.forget)), rows)
    num = len(sample.forget)
    right, others, kept = reads[:num], reads[num : 2 * num], reads[2 * num : 2 * num + len(sample.retain)]
    agrees = [is_base or bool(one.agrees[0]) for one in reads[2 * num + len(sample.retain) :]]
    logs, wrong_logs = ([_mean_log(one, is_base=is_base) for one in some] for some in (right, others))
    metrics = _said(base, None if is_base else adapter, sample)
    metrics |= {
        "forget_probability": _mean(map(math.exp, logs)),
        "retain_probability": _mean(math.exp(_mean_log(one, is_base=is_base)) for one in kept),
        "extraction_strength": _mean(_strength(one.is_right_base if is_base else one.is_right_on) for one in right),
        "membership_auc": auc(logs, wrong_logs),
        "authors_agreement": _mean(agrees[: len(sample.authors)]),
        "world_agreement": _mean(agrees[len(sample.authors) :]),
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


def _mean_log(one: Read, *, is_base: bool) -> float:
    """Return the mean log probability of an answer's tokens, the end left out."""
    return float((one.base if is_base else one.on)[:-1].double().mean())


def _below(values: Sequence[float], place: float) -> float:
    return sum(one <= place for one in values) / len(values)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return math.fsum(found) / len(found)
