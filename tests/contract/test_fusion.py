"""Every method of fusion keeps the promise of its role."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from engramos.activation.fusion import ROLE
from engramos.activation.fusion.base import Fusion
from engramos.testing.fusion import CHECKS, check_fusion

torch.set_num_threads(1)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", ROLE.names())
def test_a_method_passes(name: str, check: Callable[[Fusion], None]) -> None:
    check(ROLE.make(name))


def test_all_methods_are_found_by_name() -> None:
    assert ROLE.names() == ("blend", "concat", "first_tokens", "rerotate")


@pytest.mark.parametrize("name", ROLE.names())
def test_a_method_can_be_made_again_from_its_parameters_by_name(name: str) -> None:
    method = ROLE.make(name)
    assert ROLE.make(name, **{one.name: getattr(method, one.name) for one in fields(method)}) == method


@dataclass(frozen=True)
class Careless(Fusion):
    """Breaks one promise."""

    wrong: str = ""

    @property
    def check_layer(self) -> int | None:
        return 20 if self.wrong == "late" else 1

    def choose(self, lengths: Sequence[int], deviation: Tensor | None) -> Tensor:
        if self.wrong == "writes":
            deviation.add_(1)
        places = torch.arange(sum(lengths))
        if self.wrong == "beyond":
            return places + 1
        if self.wrong == "falls":
            return places.flip(0)
        if self.wrong == "changes":
            return places[: int(torch.randint(2, 1000, ()))]
        return places.int() if self.wrong == "narrow" else places


@dataclass(frozen=True)
class Unturned(Careless):
    turns: ClassVar[bool] = False


def test_the_suite_lets_a_sound_method_pass() -> None:
    check_fusion(Careless())


@pytest.mark.parametrize("wrong", ["writes", "beyond", "falls", "changes", "narrow", "late"])
def test_the_suite_sees_a_broken_promise(wrong: str) -> None:
    with pytest.raises(AssertionError):
        check_fusion(Careless(wrong))


def test_the_suite_sees_unturned_keys_beside_computed_ones() -> None:
    with pytest.raises(AssertionError):
        check_fusion(Unturned())
