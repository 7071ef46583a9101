"""The rows of the measurement: the full cache, policies with what they keep, codecs, recall methods."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from engramos.activation.policies.base import PREFILL
from engramos.errors import ConfigError
from engramos.roles import Role

FULL = "full"
DEFAULT_POLICIES = (
    "streaming_llm",
    "snapkv",
    "tova",
    "h2o",
    "keydiff",
    "knorm",
    "lagkv",
    "expected_attention",
    "kvzip",
)
DEFAULT_KEPT = (0.1, 0.25, 0.5)
DEFAULT_CODECS = ("int8", "int4", "rotated")
DEFAULT_RECALLS = ("specache",)
RESIDENT = 0.25
"""The share of a cache's bytes that recall methods have at hand."""


@dataclass(frozen=True, slots=True)
class Row:
    """One way to keep a cache."""

    name: str
    """Such as `full`, `snapkv.kept25`, `int8`, `snapkv.kept25.int8`, `quest.resident25`."""
    policy: int | None = None
    """The place of its policy among those that are measured."""
    kept: float = 1.0
    """The kept ratio, or the share of the bytes that is at hand."""
    codec: str | None = None
    """How it is stored, as `Role.parse` reads it."""
    recall: Any = None
    """The recall method."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What is measured, the full cache first."""

    rows: tuple[Row, ...]
    policies: tuple[Any, ...]
    """Those that rows name by their place."""
    policy_names: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    """What could not be measured, and why."""


def rows_of(
    policies: Sequence[str],
    kept: Sequence[float],
    codecs: Sequence[str],
    recalls: Sequence[str],
    *,
    is_crossed: bool = False,
) -> Rows:
    """Return the rows that are asked for.

    Args:
        policies: each a name, or `{ method = "NAME", ... }`.
        kept: kept ratios, in (0, 1).
        codecs: as policies; each over the full cache.
        recalls: as policies.
        is_crossed: whether every codec is measured over every policy and kept ratio too.

    Raises:
        UnknownMethodError: if there is no such method.
        ConfigError: if a parameter or a kept ratio does not fit, or one is named twice.
    """
    from engramos.activation.codecs import ROLE as CODECS
    from engramos.activation.policies import ROLE as POLICIES
    from engramos.activation.recall import ROLE as RECALLS

    for ratio in kept:
        if not 0.0 < ratio < 1.0:
            raise ConfigError(f"the kept ratio {ratio:g} cannot be measured: give numbers above 0 and below 1")
    made, left_out = [], []
    for text in policies:
        policy = POLICIES.parse(text)
        if PREFILL in policy.acts_in:
            made.append((label(POLICIES, text), policy))
        elif label(POLICIES, text) != FULL:
            left_out.append(f"{label(POLICIES, text)}: it removes tokens only while they are produced")
    names = [label(CODECS, text) for text in codecs]
    coded = [(name, text) for name, text in zip(names, codecs, strict=True) if CODECS.parse(text)]
    rows = [Row(FULL), *(Row(name, codec=text) for name, text in coded)]
    for place, (name, _) in enumerate(made):
        for ratio in kept:
            one = Row(f"{name}.kept{percent(ratio)}", place, ratio)
            rows.append(one)
            if is_crossed:
                rows += [Row(f"{one.name}.{codec}", place, ratio, text) for codec, text in coded]
    for text in recalls:
        name = f"{label(RECALLS, text)}.resident{percent(RESIDENT)}"
        rows.append(Row(name, kept=RESIDENT, recall=RECALLS.parse(text)))
    _check_distinct([row.name for row in rows])
    return Rows(tuple(rows), tuple(one for _, one in made), tuple(one for one, _ in made), tuple(left_out))


def _check_distinct(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{twice[0]} is asked for twice: name each method and kept ratio once")


def label(role: Role, text: str) -> str:
    """Return the short name of a method with its parameters: `snapkv`, or `snapkv(window=16)`."""
    name, parameters = role.read(text)
    inner = ",".join(f"{key}={value}" for key, value in parameters.items())
    # a dot would look like one of those between the parts of a metric's name
    return f"{name}({inner.replace('.', '_')})" if inner else name


def percent(ratio: float) -> str:
    """Return a ratio as it stands in names: 0.25 is `25`, 0.125 is `12_5`."""
    return f"{100 * ratio:g}".replace(".", "_")


def of_policies(rows: Sequence[Row], names: Sequence[str]) -> Iterator[tuple[str, list[Row]]]:
    """Yield each policy's name with its rows that no codec stores."""
    for place, name in enumerate(names):
        yield name, [row for row in rows if row.policy == place and row.codec is None]
