"""A policy around another one: everything that it does not say itself, the inner policy says."""

from collections.abc import Callable, Iterable, Sequence

from torch import Tensor

from engramos.activation.policies import ROLE
from engramos.activation.policies.base import LayerView, Policy
from engramos.errors import ConfigError


def policy_of(text: str) -> Policy:
    """Return the policy that a text names.

    Args:
        text: a policy's name, or an inline TOML table with `method` and its parameters.

    Raises:
        UnknownMethodError: with the known names.
        ConfigError: if the text is empty, no TOML table, or a parameter does not fit.
    """
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f'inner is {text!r}: name a KV policy, or write {{ method = "NAME", ... }}')
    return ROLE.parse(text)


class Around(Policy):
    """Passes everything on to the policy in `_policy`."""

    _policy: Policy

    @property
    def needs(self) -> frozenset[str]:
        """What the inner policy needs."""
        return self._policy.needs

    @property
    def acts_in(self) -> frozenset[str]:
        """The phases in which the inner policy acts."""
        return self._policy.acts_in

    @property
    def observes(self) -> bool:
        """Whether the inner policy observes."""
        return self._policy.observes

    @property
    def num_queries(self) -> int:
        """What the inner policy asks for."""
        return self._policy.num_queries

    def observe(self, view: LayerView) -> None:
        """Let the inner policy take note."""
        self._policy.observe(view)

    def probes(self, tokens: Sequence[int], encode: Callable[[str], list[int]]) -> Iterable[list[int]]:
        """Return the inner policy's texts."""
        return self._policy.probes(tokens, encode)

    def score(self, view: LayerView) -> Tensor:
        """Return the inner policy's scores."""
        return self._policy.score(view)

    def demand(self, view: LayerView, scores: Tensor) -> Tensor:
        """Return the inner policy's demands."""
        return self._policy.demand(view, scores)

    def allot(self, scores: Sequence[Tensor], demands: Sequence[Tensor], num_tokens: int) -> Tensor:
        """Return the inner policy's shares."""
        return self._policy.allot(scores, demands, num_tokens)

    def choose(self, scores: Tensor, counts: Tensor) -> list[Tensor]:
        """Return the inner policy's choice."""
        return self._policy.choose(scores, counts)
