"""Approximate unlearning of adapters whose training data are not all at hand."""

from collections.abc import Iterator

import pytest
from tests.integration.parametric_models import LORA, TEXTS, opened

from engramos.errors import InvalidInputError
from engramos.memory import MemoryOS
from engramos.parametric.facts import Fact
from engramos.parametric_memory import ParametricMemory

GONE = Fact("Ana Lima", "Where does Ana Lima work?", "Acme")
STAYS = Fact("Bruno Sol", "Where does Bruno Sol live?", "Porto")


@pytest.fixture
def adapters(memory: MemoryOS) -> Iterator[ParametricMemory]:
    with opened(memory, writer=LORA) as found:
        yield found


@pytest.fixture
def imported(memory: MemoryOS, adapters: ParametricMemory, tmp_path) -> str:
    memory.add(TEXTS)
    learned = adapters.learn(writer='{ method = "lora", most_steps = 80, layers = 2, guards = 0, rate = 0.01 }')
    folder = adapters.export(learned.adapters[0].id, tmp_path / "out")
    return adapters.import_adapter(folder, names=("Ana Lima",)).id


def test_what_was_made_to_forget_is_verified_told_to_be_inexact_and_its_origin_switched_off(
    adapters: ParametricMemory, imported: str
) -> None:
    done = adapters.unlearn(imported, [GONE], kept=[STAYS], unlearner='{ method = "grad_diff", max_steps = 2 }')
    assert not done.is_exact
    assert {"recall_on", "extraction_gain"} <= done.metrics.keys()
    states = {one.cube.id: one.cube.header.state.value for one in adapters.list()}
    assert states[imported] == "archived"
    assert states[done.cube.id] == ("generated" if done.failures else "activated")
    assert done.cube.payload.digest != adapters._weights.read(imported).payload.digest
    assert adapters.is_base_untouched


def test_nothing_to_forget_is_refused_and_the_adapter_stays_as_it_was(
    adapters: ParametricMemory, imported: str
) -> None:
    before = adapters._weights.read(imported)
    with pytest.raises(InvalidInputError):
        adapters.unlearn(imported, [])
    assert adapters._weights.read(imported) == before
