"""Retention over time: when a fact is shown again, and how much a sequence of writes has kept.

Pure functions of numbers; what they say is done elsewhere.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from engramos.errors import ConfigError, InvalidInputError

Accuracies = Sequence[Sequence[float]]
"""Row i: after write i, the accuracy on the facts of each write, (writes, writes); GEM's matrix R."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Facts come back into training ever more seldom: with the defaults 1, 2, 4, 8 writes after they were last seen.

    Source: ours; intervals that grow by a factor are those of spaced repetition.
    """

    first: int = 1
    """Writes from the first exposure to the second; 1 or more."""
    growth: float = 2.0
    """Each interval is so many times the one before; 1 or more, 1 for even intervals."""
    longest: int = 64
    """No interval is longer, so that a fact never drops out for good; at least `first`."""

    def __post_init__(self) -> None:
        if self.first < 1:
            raise ConfigError(f"first is {self.first}: give 1 or more writes")
        if not (math.isfinite(self.growth) and self.growth >= 1):
            raise ConfigError(f"growth is {self.growth}: give a finite number, 1 or more")
        if self.longest < self.first:
            raise ConfigError(f"longest is {self.longest}: give at least first, {self.first} writes")

    def interval(self, exposures: int) -> int:
        """Return after how many writes a fact is due that was trained this often.

        Args:
            exposures: in how many writes it was trained, 1 or more.

        Raises:
            InvalidInputError: if it was never trained.
        """
        if exposures < 1:
            raise InvalidInputError(f"exposures is {exposures}: a fact that was never written has no interval")
        # a power that no float holds is over the longest anyway
        if (exposures - 1) * math.log(self.growth) > math.log(self.longest / self.first):
            return self.longest
        return min(self.longest, round(self.first * self.growth ** (exposures - 1)))

    def due(self, exposures: int, writes: int) -> bool:
        """Return whether a fact belongs into the next write.

        Args:
            exposures: in how many writes it was trained, 0 or more; one that never was is due.
            writes: how many writes have been since the last of those, the next one counted: 1 or more.
        """
        return exposures < 1 or writes >= self.interval(exposures)


def due(exposures: int, writes: int) -> bool:
    """Return whether a fact belongs into the next write by the default schedule; see `Schedule.due`.

    Example:
        >>> [writes for writes in range(1, 9) if due(3, writes)]
        [4, 5, 6, 7, 8]
    """
    return Schedule().due(exposures, writes)


def average_accuracy(accuracies: Accuracies) -> float:
    """Return the mean accuracy on the facts of all writes after the last write.

    Source: GEM, https://arxiv.org/abs/1706.08840, section 2, equation 2.

    Args:
        accuracies: as `Accuracies`, each in [0, 1].

    Raises:
        InvalidInputError: if they are not as many columns as rows, 1 or more, or not in [0, 1].
    """
    num = _size(accuracies, least=1)
    return math.fsum(accuracies[-1]) / num


def backward_transfer(accuracies: Accuracies) -> float:
    """Return how much later writes have changed the accuracy on earlier facts, on average; below 0: forgetting.

    Source: GEM, https://arxiv.org/abs/1706.08840, section 2, equation 3.

    Args:
        accuracies: as `Accuracies`, of 2 writes or more; only the diagonal and the last row are read.

    Returns:
        A number in [-1, 1].

    Raises:
        InvalidInputError: as `average_accuracy`, and if there is one write only.
    """
    num = _size(accuracies, least=2)
    return math.fsum(accuracies[-1][at] - accuracies[at][at] for at in range(num - 1)) / (num - 1)


def forward_transfer(accuracies: Accuracies, untrained: Sequence[float]) -> float:
    """Return by how much earlier writes help with facts before they are written, on average.

    For facts that nobody could know, it should be 0: above, answers leak from one fact to another.

    Source: GEM, https://arxiv.org/abs/1706.08840, section 2, equation 4.

    Args:
        accuracies: as `Accuracies`, of 2 writes or more; only what stands right above the diagonal is read.
        untrained: accuracy on the facts of each write before the first write, in [0, 1].

    Returns:
        A number in [-1, 1].

    Raises:
        InvalidInputError: as `backward_transfer`, and if `untrained` has not one number for each write.
    """
    num = _size(accuracies, least=2)
    if len(untrained) != num or not all(0 <= one <= 1 for one in untrained):
        raise InvalidInputError(f"accuracies before training are {len(untrained)}: give {num} numbers in [0, 1]")
    return math.fsum(accuracies[at - 1][at] - untrained[at] for at in range(1, num)) / (num - 1)


def _size(accuracies: Accuracies, least: int) -> int:
    """Return how many writes a matrix of accuracies has.

    Raises:
        InvalidInputError: if they are too few, rows are of another length, or a number is not in [0, 1].
    """
    num = len(accuracies)
    if num < least:
        raise InvalidInputError(f"accuracies are of {num} writes: give those of {least} or more")
    for at, row in enumerate(accuracies):
        if len(row) != num or not all(0 <= one <= 1 for one in row):
            raise InvalidInputError(f"accuracies after write {at} are not {num} numbers in [0, 1]: measure them anew")
    return num
