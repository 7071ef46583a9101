"""Keep what the end of the prompt looks at, and the end itself."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from engramos.activation.policies._newest import window_of
from engramos.activation.policies.base import PROTECTED, LayerView, Policy, is_newest
from engramos.errors import ConfigError


def window_votes(view: LayerView, window: int, kernel: int) -> Tensor:
    """Return the smoothed attention that tokens before the window receive from it; `PROTECTED` for the window.

    Args:
        view: the layer, with at least `window` queries where there are so many.
        window: newest queries that vote, before the question's length limits it; 1 or more.
        kernel: neighbouring tokens that are averaged; odd.

    Returns:
        (kv_heads, tokens) float32.
    """
    window = window_of(view, window)
    in_window = is_newest(view, window)
    # the window's own attention must not leak into its neighbours by the smoothing
    votes = view.attention(window).mean(dim=2).masked_fill(in_window[:, None], 0.0)
    votes = functional.avg_pool1d(votes, kernel_size=kernel, padding=kernel // 2, stride=1)
    return votes.mean(dim=1).masked_fill(in_window, PROTECTED)


@dataclass(frozen=True, slots=True)
class SnapKV(Policy):
    """The newest queries vote by their attention; neighbours of what is voted for stay with it.

    Source: SnapKV, https://arxiv.org/abs/2404.14469, section 4.
    Differs: means in place of sums, averaged over the query heads of a group; the window is never longer than the
    question, where its length is known.
    """

    window: int = 64
    """Newest queries that vote, and tokens that always stay; 1 or more."""
    kernel: int = 5
    """Neighbouring tokens whose votes are averaged; odd, 1 for none."""

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ConfigError(f"window is {self.window}: give 1 or more queries")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ConfigError(f"kernel is {self.kernel}: give an odd number, 1 or more")

    @property
    def num_queries(self) -> int:
        """The window."""
        return self.window

    def score(self, view: LayerView) -> Tensor:
        """Return the smoothed votes."""
        return window_votes(view, self.window, self.kernel)
