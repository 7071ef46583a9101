"""Every editor keeps the promise of its role."""

from collections.abc import Callable, Sequence
from dataclasses import FrozenInstanceError, dataclass, fields

import pytest
import torch

from engramos.errors import ConfigError, InvalidInputError
from engramos.parametric.adapter import Adapter
from engramos.parametric.editors import ROLE
from engramos.parametric.editors.base import Edit, Editor, Request
from engramos.parametric.editors.rome import Rome
from engramos.parametric.model import BaseModel
from engramos.testing.editors import CHECKS, REQUESTS, check_editor, tiny_base

torch.set_num_threads(1)
SEARCH = {"num_prefixes": 0, "rate": 0.2, "enough": 0.7, "decay": 0.02}
PARAMETERS: dict[str, dict[str, object]] = {
    "alphaedit": SEARCH | {"clamp": 4.0, "threshold": 2.0, "weight": 0.0, "num_layers": 1},
    "memit": SEARCH | {"clamp": 8.0, "weight": 0.0, "num_layers": 1},
    "rome": SEARCH | {"clamp": 8.0},
}
"""Others than the defaults, which are for models of a common size: a random one reads no subject twice alike."""


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", ROLE.names())
def test_an_editor_passes(name: str, check: Callable[[Editor], None]) -> None:
    check(ROLE.make(name, **PARAMETERS.get(name, {})))


@pytest.mark.parametrize("name", ROLE.names())
def test_an_editor_is_frozen_and_refuses_unknown_parameters(name: str) -> None:
    editor = ROLE.make(name)
    for field in fields(editor):
        with pytest.raises(FrozenInstanceError):
            setattr(editor, field.name, getattr(editor, field.name))
    with pytest.raises(ConfigError, match="no_such_thing"):
        ROLE.make(name, no_such_thing=1)


@pytest.mark.parametrize("name", ROLE.names())
def test_a_parameter_that_is_negative_is_refused_by_its_name(name: str) -> None:
    numbers = [field.name for field in fields(ROLE.load(name)) if field.type in (int, float, "int", "float")]
    for field in numbers:
        with pytest.raises(ConfigError, match=f"^{field} is "):
            ROLE.make(name, **{field: -1})


@pytest.mark.parametrize(
    ("prompt", "subject", "target"), [(" ", "Ana", "x"), ("Ana is", "", "x"), ("Ana is", "Ana", "")]
)
def test_a_request_without_a_text_is_refused(prompt: str, subject: str, target: str) -> None:
    with pytest.raises(InvalidInputError, match="of an edit is empty"):
        Request(prompt, subject, target)


def test_an_edit_that_is_not_applied_cannot_be_undone() -> None:
    base = tiny_base()
    edit = Edit(Rome(steps=1).edit(REQUESTS[:1], base))
    with pytest.raises(InvalidInputError, match="not held"):
        edit.undo(base)


@dataclass(frozen=True)
class Careless(Editor):
    """Edits, or breaks one promise."""

    wrong: str = ""

    def edit(self, requests: Sequence[Request], base: BaseModel, *, seed: int = 0) -> Adapter:
        if self.wrong == "trusts":
            requests = requests[:2] or REQUESTS
        if self.wrong == "holds":
            base.hold(Rome(steps=1).edit(requests, base))
        if self.wrong == "writes":
            with torch.no_grad():
                base.module(base.linear(0, "down_proj")).weight.mul_(1.01)
        if self.wrong == "asks":
            base.module(base.linear(0, "down_proj")).weight.requires_grad_()
        editor = Rome(**SEARCH, gate=0.0, clamp=1e-3 if self.wrong == "idle" else 8.0)
        made = editor.edit(requests, base, seed=seed)
        if self.wrong == "loud":
            made.up[made.targets[0]].mul_(30)
        if self.wrong == "random":
            made.up[made.targets[0]].mul_(1 + 1e-3 * float(torch.rand(())))
        return made


def test_an_editor_that_keeps_every_promise_passes() -> None:
    check_editor(Careless())


@pytest.mark.parametrize("wrong", ["trusts", "random", "holds", "writes", "asks", "idle", "loud"])
def test_a_broken_promise_is_seen(wrong: str) -> None:
    with pytest.raises((AssertionError, InvalidInputError)):
        check_editor(Careless(wrong))
