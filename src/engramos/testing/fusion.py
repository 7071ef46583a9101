"""What every method of fusion must keep to: run `check_fusion` over an instance, or each of `CHECKS` by itself.

Nothing here needs a test framework: a check fails by an AssertionError. It needs torch, which `import engramos.testing`
alone does not load.

Example:
    >>> from engramos.activation.fusion.first_tokens import FirstTokens
    >>> check_fusion(FirstTokens(num_tokens=4))
"""

from collections.abc import Callable

import torch
from torch import Tensor

from engramos.activation.fusion.base import Fusion

LENGTHS = ((7,), (1, 1), (5, 9, 1, 40), (3,) * 30, (160,) * 6)
"""Pieces that are tried, by their numbers of tokens."""
LATEST = 4
"""The latest layer that a method may compare at by default."""


def deviation_of(lengths: tuple[int, ...], *, seed: int = 0) -> Tensor:
    """Return random deviations: those of the first piece are 0, as it stands where it was encoded.

    Args:
        lengths: tokens of each piece.
        seed: the same seed gives the same numbers.
    """
    found = torch.rand(sum(lengths), generator=torch.Generator().manual_seed(seed))
    found[: lengths[0]] = 0.0
    return found


def chosen(fusion: Fusion, lengths: tuple[int, ...]) -> Tensor:
    """Return what a method chooses, given what it asks for."""
    return fusion.choose(lengths, None if fusion.check_layer is None else deviation_of(lengths))


def check_places_are_of_tokens(fusion: Fusion) -> None:
    """Places are int64, rise without repeats, and each is that of a token."""
    for lengths in LENGTHS:
        places = chosen(fusion, lengths)
        assert places.dtype == torch.int64, f"{lengths}: places are {places.dtype}"
        assert places.dim() == 1, f"{lengths}: places have {places.dim()} axes"
        assert bool((places.diff() > 0).all()), f"{lengths}: places do not rise"
        assert not len(places) or 0 <= int(places[0]) <= int(places[-1]) < sum(lengths), f"{lengths}: no such token"


def check_choice_is_the_same_twice(fusion: Fusion) -> None:
    """The same pieces give the same places."""
    for lengths in LENGTHS:
        assert chosen(fusion, lengths).tolist() == chosen(fusion, lengths).tolist(), f"{lengths}: another choice"


def check_equal_deviations_are_no_harm(fusion: Fusion) -> None:
    """Where nothing has changed there is still a choice, and it is the same twice."""
    if fusion.check_layer is None:
        return
    for lengths in LENGTHS:
        first, second = (fusion.choose(lengths, torch.zeros(sum(lengths))).tolist() for _ in range(2))
        assert first == second, f"{lengths}: another choice"


def check_deviations_are_not_changed(fusion: Fusion) -> None:
    """What is handed over stays as it is."""
    if fusion.check_layer is None:
        return
    for lengths in LENGTHS:
        given = deviation_of(lengths)
        fusion.choose(lengths, given)
        assert bool((given == deviation_of(lengths)).all()), f"{lengths}: the deviations were written to"


def comparison_comes_early(fusion: Fusion) -> None:
    """All tokens are computed before the comparison: a late one would save nothing."""
    layer = fusion.check_layer
    assert layer is None or 1 <= layer <= LATEST, f"the check layer is {layer}"


def check_keys_that_are_not_turned_are_not_computed(fusion: Fusion) -> None:
    """Tokens computed at their new positions do not fit keys that kept their old ones."""
    if fusion.turns:
        return
    assert fusion.check_layer is None
    assert all(not len(chosen(fusion, lengths)) for lengths in LENGTHS)


CHECKS: tuple[Callable[[Fusion], None], ...] = (
    check_places_are_of_tokens,
    check_choice_is_the_same_twice,
    check_equal_deviations_are_no_harm,
    check_deviations_are_not_changed,
    comparison_comes_early,
    check_keys_that_are_not_turned_are_not_computed,
)
"""All checks, each by itself."""


def check_fusion(fusion: Fusion) -> None:
    """Run all checks.

    Raises:
        AssertionError: with the first promise that is broken.
    """
    for check in CHECKS:
        check(fusion)
