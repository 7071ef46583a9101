"""P5: a memory, driven at random, holds what a dictionary says it must; its history only grows."""

import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from engramos.clock import from_us
from engramos.errors import CubeNotFoundError, FrozenError, IllegalTransitionError, VersionConflictError
from engramos.memory import MemoryOS
from engramos.plaintext.plan import DEFAULT, LEXICAL
from engramos.rows import Filter
from engramos.testing import FakeClock

WORDS = ("anchor", "basil", "copper", "dahlia", "ember", "falcon")
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)


@dataclass(frozen=True)
class Seen:
    """One version as the memory must return it."""

    text: str
    state: str
    known_us: int
    is_true: bool = True


@dataclass
class Model:
    """All versions by cube, and the number of versions by erased cube."""

    cubes: dict[str, list[Seen]] = field(default_factory=dict)
    erased: dict[str, int] = field(default_factory=dict)

    def write(self, cube_id: str, known_us: int, **different: object) -> None:
        """Note a further version."""
        self.cubes[cube_id].append(replace(self.cubes[cube_id][-1], known_us=known_us, **different))

    def listed(self) -> dict[str, str]:
        """Return what a list shows."""
        return {one: seen[-1].text for one, seen in sorted(self.cubes.items()) if seen[-1].state != "expired"}

    def found(self, word: str) -> set[str]:
        """Return what a search for one word finds."""
        heads = {one: seen[-1] for one, seen in self.cubes.items()}
        return {
            one
            for one, head in heads.items()
            if head.state == "activated" and head.is_true and word in head.text.split()
        }


class MemoryMachine(RuleBasedStateMachine):
    """The verbs of one user, with a clock that moves a second at each step."""

    embedder = "none"
    plan = LEXICAL
    num_steps = num_writes = 0
    cubes = Bundle("cubes")

    @initialize()
    def start(self) -> None:
        """Open a memory in a new folder."""
        self.clock = FakeClock()
        self.clock.__enter__()
        self.folder = Path(tempfile.mkdtemp())
        self.memory = self.opened()
        self.model = Model()
        self.journal: list[tuple[int, bytes]] = []

    def opened(self) -> MemoryOS:
        """Open the memory."""
        return MemoryOS.open(self.folder / "memory", embedder=self.embedder, durability="relaxed")

    def teardown(self) -> None:
        """Close and remove all."""
        if hasattr(self, "memory"):
            self.memory.close()
            self.clock.__exit__()
            shutil.rmtree(self.folder)

    def tick(self) -> int:
        """Let a second pass and return the time."""
        type(self).num_writes += 1
        self.clock.advance(seconds=1)
        return self.clock.read_us()

    @rule(target=cubes, text=TEXTS)
    def add(self, text: str) -> str:
        """A new cube is there at once."""
        at_us = self.tick()
        (cube_id,) = self.memory.add(text).cube_ids
        self.model.cubes[cube_id] = [Seen(text, "activated", at_us)]
        return cube_id

    @rule(cube_id=cubes, text=TEXTS, stale=st.integers(0, 2))
    def update(self, cube_id: str, text: str, stale: int) -> None:
        """An update from the newest version succeeds, one from an older is refused."""
        at_us = self.tick()
        head = self.model.cubes[cube_id][-1]
        expected = len(self.model.cubes[cube_id]) - stale
        if stale:
            with pytest.raises(VersionConflictError):
                self.memory.update(cube_id, text=text, expected_version=expected)
        elif head.state == "expired":
            with pytest.raises(IllegalTransitionError):
                self.memory.update(cube_id, text=text, expected_version=expected)
        else:
            self.memory.update(cube_id, text=text, expected_version=expected)
            self.model.write(cube_id, at_us, text=text)

    @rule(cube_id=cubes)
    def expire(self, cube_id: str) -> None:
        """An expired cube is hidden; it cannot expire twice."""
        at_us = self.tick()
        if self.model.cubes[cube_id][-1].state == "expired":
            with pytest.raises(IllegalTransitionError):
                self.memory.forget(cube_id, act="expire")
        else:
            self.memory.forget(cube_id, act="expire")
            self.model.write(cube_id, at_us, state="expired")

    @rule(cube_id=cubes)
    def supersede(self, cube_id: str) -> None:
        """A superseded cube is listed and no longer found."""
        at_us = self.tick()
        if self.model.cubes[cube_id][-1].state == "expired":
            with pytest.raises(IllegalTransitionError):
                self.memory.forget(cube_id, act="supersede")
        else:
            self.memory.forget(cube_id, act="supersede")
            self.model.write(cube_id, at_us, is_true=False)

    @rule(cube_id=cubes)
    def restore(self, cube_id: str) -> None:
        """A hidden or superseded cube comes back; another has nothing to come back from."""
        at_us = self.tick()
        head = self.model.cubes[cube_id][-1]
        if head.state == "activated" and head.is_true:
            with pytest.raises(IllegalTransitionError):
                self.memory.restore(cube_id)
        else:
            self.memory.restore(cube_id)
            self.model.write(cube_id, at_us, state="activated", is_true=True)

    @rule(cube_id=cubes, place=st.integers(0, 9))
    def restore_version(self, cube_id: str, place: int) -> None:
        """An earlier version becomes the newest; a version that never was is refused."""
        at_us = self.tick()
        versions = self.model.cubes[cube_id]
        if place >= len(versions):
            with pytest.raises(CubeNotFoundError):
                self.memory.restore(cube_id, version=place + 1)
        else:
            old = versions[place]
            self.memory.restore(cube_id, version=place + 1)
            self.model.write(cube_id, at_us, text=old.text, state="activated", is_true=old.is_true)

    @rule(cube_id=consumes(cubes))
    def erase(self, cube_id: str) -> None:
        """An erased cube is gone from every verb; a tombstone stays."""
        self.tick()
        num = len(self.model.cubes.pop(cube_id))
        assert self.memory.forget(cube_id, act="erase").cube_ids == (cube_id,)
        self.model.erased[cube_id] = num
        for ask in (self.memory.get, self.memory.restore, self.memory.explain):
            with pytest.raises(CubeNotFoundError):
                ask(cube_id)
        history = self.memory.history(cube_id)
        assert history.versions == ()
        assert history.tombstone is not None
        assert history.tombstone.num_versions == num

    @rule(cube_id=cubes, text=TEXTS)
    def dry_run(self, cube_id: str, text: str) -> None:
        """What only asks changes nothing; the invariants see to it."""
        self.memory.add(text, dry_run=True)
        self.memory.forget(cube_id, act="erase", dry_run=True)

    @rule(cube_id=cubes, back_s=st.integers(0, 30))
    def read_the_past(self, cube_id: str, back_s: int) -> None:
        """A read for an earlier time gives what was known then."""
        at_us = self.clock.read_us() - back_s * 1_000_000
        known_at = from_us(at_us)
        seen = [one for one in self.model.cubes[cube_id] if one.known_us <= at_us]
        if not seen:
            with pytest.raises(CubeNotFoundError):
                self.memory.get(cube_id, known_at=known_at)
        else:
            assert self.memory.get(cube_id, known_at=known_at).text == seen[-1].text
        listed = {cube.id: cube.text for cube in self.memory.list(known_at=known_at)}
        known = {
            one: [version for version in versions if version.known_us <= at_us]
            for one, versions in self.model.cubes.items()
        }
        heads = {one: versions[-1] for one, versions in known.items() if versions}
        assert listed == {one: head.text for one, head in heads.items() if head.state != "expired"}
        word = WORDS[back_s % len(WORDS)]
        hits = {hit.id for hit in self.memory.search(word, known_at=known_at, limit=1_000, plan=self.plan)}
        wanted = {
            one
            for one, head in heads.items()
            if head.state == "activated" and head.is_true and word in head.text.split()
        }
        assert hits >= wanted
        assert self.embedder != "none" or hits == wanted

    @rule(word=st.sampled_from(WORDS))
    def search(self, word: str) -> None:
        """A search for a word finds the cubes with it, and no other when there are no vectors."""
        hits = self.memory.search(word, limit=1_000, plan=self.plan)
        assert {hit.id for hit in hits} >= self.model.found(word)
        assert all(hit.text == self.model.cubes[hit.id][-1].text for hit in hits)
        if self.embedder == "none":
            assert {hit.id for hit in hits} == self.model.found(word)
        matched = {cube.id for cube in self.memory.list(Filter(match=word, states=("activated",)))}
        heads = {one: seen[-1] for one, seen in self.model.cubes.items()}
        assert matched == {
            one for one, head in heads.items() if head.state == "activated" and word in head.text.split()
        }

    @rule()
    def reopen(self) -> None:
        """Closing and opening changes nothing."""
        self.memory.close()
        self.memory = self.opened()

    @invariant()
    def lists_and_versions_agree(self) -> None:
        """The list, every version, and the numbers are the dictionary's."""
        if not hasattr(self, "memory"):
            return
        type(self).num_steps += 1
        assert {cube.id: cube.text for cube in self.memory.list(limit=1_000)} == self.model.listed()
        assert self.memory.stats()["cubes"] == len(self.model.cubes)
        if not self.model.cubes:
            return
        cube_id = max(self.model.cubes, key=lambda one: self.model.cubes[one][-1].known_us)
        versions = self.memory.history(cube_id).versions
        assert [cube.version for cube in versions] == list(range(1, len(self.model.cubes[cube_id]) + 1))
        assert [(cube.text, cube.header.state) for cube in versions] == [
            (seen.text, seen.state) for seen in self.model.cubes[cube_id]
        ]

    @invariant()
    def history_is_append_only(self) -> None:
        """The journal never changes behind its end, and has no gap."""
        if not hasattr(self, "memory"):
            return
        rows = [(row.seq, row.hash) for row in self.memory._parts.vault.journal("local", limit=-1)]
        assert rows[: len(self.journal)] == self.journal
        assert [seq for seq, _ in rows] == list(range(1, len(rows) + 1))
        self.journal = rows


class VectorMachine(MemoryMachine):
    """The same with vectors."""

    embedder = "hashing"
    plan = DEFAULT
    num_steps = num_writes = 0


QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@pytest.mark.parametrize(("machine", "examples"), [(MemoryMachine, 70), (VectorMachine, 15)])
def test_a_memory_driven_at_random_holds_what_a_dictionary_says(machine: type, examples: int) -> None:
    chosen = settings(max_examples=examples, stateful_step_count=50, deadline=None, suppress_health_check=QUIET)
    quick = settings(chosen, derandomize=True, database=None, phases=(Phase.generate,))
    run_state_machine_as_test(machine, settings=quick)
    assert machine.num_steps >= (2_000 if machine is MemoryMachine else 400)
    assert machine.num_writes >= (1_000 if machine is MemoryMachine else 100)


@pytest.mark.slow
@pytest.mark.parametrize("machine", [MemoryMachine, VectorMachine])
def test_a_memory_driven_for_long_holds_what_a_dictionary_says(machine: type) -> None:
    chosen = settings(max_examples=1_000, stateful_step_count=100, deadline=None, suppress_health_check=QUIET)
    run_state_machine_as_test(machine, settings=settings(chosen, database=None))


def test_a_frozen_cube_refuses_update(memory: MemoryOS) -> None:
    from engramos.changes import Freeze
    from engramos.clock import now
    from engramos.cube import State
    from engramos.lifecycle import move

    (cube_id,) = memory.add("kept as it is").cube_ids
    frozen = move(memory.get(cube_id), State.FROZEN, now(), actor="me")
    memory._parts.commit([Freeze(frozen)], memory.scope)
    with pytest.raises(FrozenError):
        memory.update(cube_id, text="other", expected_version=2)
    with pytest.raises(FrozenError):
        memory.forget(cube_id, act="expire")
    assert [hit.id for hit in memory.search("kept")] == [cube_id]
    assert memory.restore(cube_id).header.state == "activated"
