"""What is measured: a search plan and an embedder, named by `key=value` on the command line."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from engramos.errors import ConfigError
from engramos.plaintext.plan import DEFAULT, DENSE, HYBRID, LEXICAL, Plan, Step
from engramos.plaintext.rerankers import ROLE as RERANKERS

PLANS: Mapping[str, Plan] = MappingProxyType({"default": DEFAULT, "bm25": LEXICAL, "dense": DENSE, "rrf60": HYBRID})
"""The plans that can be named; those after the first are the baselines of every run."""


@dataclass(frozen=True, slots=True)
class Method:
    """How a run searches."""

    plan_name: str = "default"
    plan: Plan = DEFAULT
    embedder: str = "bge_small"
    changed: Mapping[str, str] = field(default_factory=dict)
    """The `key=value` pairs that were given."""

    @property
    def settings(self) -> dict[str, object]:
        """All that decides the result, as JSON values."""
        steps = {
            step.name: {"method": step.method, "weight": step.weight, **step.parameters} for step in self.plan.steps
        }
        found = {"plan": self.plan_name, "embedder": self.embedder, "ranker": self.plan.ranker, "steps": steps}
        if self.plan.rerankers:
            found["rerankers"] = {
                step.name: {"method": step.method, "weight": step.weight, **step.parameters}
                for step in self.plan.rerankers
            }
        return found


def read_method(pairs: Iterable[str], embedder: str) -> Method:
    """Return the method that `key=value` pairs name: `plan`, `embedder`, `ranker`, `rerank`, or a step and its weight.

    Args:
        pairs: as given on the command line, such as `plan=bm25` or `speaker=0`; `rerank` names a reranker as `ranker`
            names a ranker, or several in their order, as in `newest+cross_encoder`, or `none`.
        embedder: the one that counts where no pair names one.

    Raises:
        ConfigError: if a pair has no `=`, a key is unknown (the nearest is named), or a value does not fit.
    """
    given: dict[str, str] = {}
    for pair in pairs:
        key, is_pair, value = pair.partition("=")
        if not is_pair or not value.strip():
            raise ConfigError(f"method setting {pair!r} is no key=value: write for example plan=bm25")
        given[key.strip()] = value.strip()
    name = given.get("plan", "default")
    if name not in PLANS:
        raise ConfigError(f"plan is {name!r}: use one of {', '.join(PLANS)}")
    plan = PLANS[name]
    weights = {key: _weight(key, value, plan) for key, value in given.items() if key not in _KEYS}
    steps = tuple(replace(step, weight=weights.get(step.name, step.weight)) for step in plan.steps)
    rerankers = _rerankers(given["rerank"]) if "rerank" in given else plan.rerankers
    rerankers = tuple(replace(step, weight=weights.get(step.name, step.weight)) for step in rerankers)
    plan = Plan(steps, given.get("ranker", plan.ranker), rerankers)
    _ = plan.methods, plan.reranking
    return Method(name, plan, given.get("embedder", embedder), given)


_KEYS = ("plan", "embedder", "ranker", "rerank")


def _rerankers(text: str) -> tuple[Step, ...]:
    if text == "none":
        return ()
    named = [RERANKERS.read(one) for one in ([text] if text.startswith("{") else text.split("+"))]
    return tuple(Step(name, name, 1.0, parameters) for name, parameters in named)


def _weight(key: str, value: str, plan: Plan) -> float:
    known = [*_KEYS, *(step.name for step in (*plan.steps, *plan.rerankers))]
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known)}"
        raise ConfigError(f"there is no method setting {key!r}; {hint}")
    try:
        return float(value)
    except ValueError as error:
        raise ConfigError(f"weight of step {key!r} is {value!r}: give a number of 0 or more") from error
