"""P2: what was acknowledged survives power loss; `relaxed` loses only the newest, and never breaks the memory."""

import random
import shutil
import sqlite3
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.crash import whole
from tests.crash.controller import demand_nothing

from engramos import failpoints
from engramos.config import Settings
from engramos.errors import EngramosError, StoreError
from engramos.memory import MemoryOS
from engramos.vault.sqlite import schema
from engramos.vault.sqlite.vault import SqliteVault
from engramos.verbs.parts import Parts

pytest.importorskip("apsw", reason="apsw is not installed: run pip install 'engramos[apsw]'")
from tests.crash.power_loss import Disk, Image

MAX_OPERATIONS = 2_500
FAILPOINTS = ("before_apply", "before_commit", "after_commit", "before_scrub", "before_checkpoint", "after_checkpoint")


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A folder with a migrated file, as the first opening leaves it."""
    folder = tmp_path_factory.mktemp("empty")
    schema.prepare(folder / "vault.db")
    return folder


@dataclass
class Outcome:
    """What one cut did."""

    acknowledged: int
    lost: list[str]
    wrong: list[str]
    """What is not whole."""
    is_prefix: bool

    @property
    def found(self) -> list[str]:
        return self.wrong + [f"lost: {one}" for one in self.lost]


class PowerCut:
    """Adds, updates and erases from some threads on one disk until its power is cut."""

    def __init__(self, folder: Path, disk: Disk, *, durability: str, synchronous: str | None = None) -> None:
        self.disk = disk
        settings = Settings(folder=folder, embedder="hashing", durability=durability, driver="apsw")
        self.vault = SqliteVault(folder, durability=durability, driver="apsw", vfs=disk.name)
        # small enough for several automatic checkpoints before the cut
        self.pragma("wal_autocheckpoint = 60")
        if synchronous:
            self.pragma(f"synchronous = {synchronous}")
        self.memory = MemoryOS(Parts(self.vault, settings))
        self.texts: dict[str, set[str]] = {}
        self.erased: set[str] = set()
        self.journal: list[tuple[int, bytes]] = []
        self.refused: list[str] | None = None
        """What failed, for a disk that may fail; None where nothing may."""

    def pragma(self, text: str) -> None:
        self.vault._writer.run_alone(lambda connection: list(connection.execute(f"PRAGMA {text}")))

    def run(self, seed: object, num_threads: int, num: int = 1_000) -> None:
        """Work until the power is cut, and read the whole journal in the world after the cut."""
        threads = [threading.Thread(target=self._work, args=(seed, number, num)) for number in range(num_threads)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        self.journal = [(row.seq, row.hash) for row in self.vault.journal("local", limit=1_000_000)]

    def _work(self, seed: object, thread: int, num: int) -> None:
        rng = random.Random(f"{seed}/{thread}")
        for number in range(num):
            if self.disk.is_cut:
                return
            try:
                self._use(rng, thread, number)
            except StoreError as error:
                if self.refused is None:
                    raise
                self.refused.append(str(error))

    def _use(self, rng: random.Random, thread: int, number: int) -> None:
        texts = [f"t{thread}n{number}xp{at}of2 " + "lantern " * rng.randint(1, 60) for at in range(2)]
        first, second = self.memory.add(texts).cube_ids
        if not self.disk.is_cut:
            self.texts |= {first: {texts[0]}, second: {texts[1]}}
        if number % 4 == 3:
            self._change(first, second, texts)

    def _change(self, first: str, second: str, texts: list[str]) -> None:
        newer = f"{texts[0]} corrected"
        self.texts.get(first, set()).add(newer)
        self.memory.update(first, expected_version=1, text=newer)
        if not self.disk.is_cut and first in self.texts:
            self.texts[first] = {newer}
        self.texts.pop(second, None)
        self.memory.forget(second, act="erase")
        if not self.disk.is_cut:
            self.erased.add(second)

    def compare(self, folder: Path) -> Outcome:
        """Open what survived with Python's own SQLite and compare it with what was acknowledged before the cut."""
        self.disk.write_survivors(folder)
        try:
            with MemoryOS.open(folder, embedder="hashing") as memory:
                lost = [one for one, texts in self.texts.items() if _text(memory, one) not in texts]
                lost += [one for one in self.erased if _text(memory, one) is not None]
            wrong = whole.problems(folder)
            journal = whole.journal_of(folder)
        except (EngramosError, sqlite3.Error) as error:
            return Outcome(len(self.texts), list(self.texts), [f"it does not open: {error}"], False)
        is_prefix = journal == self.journal[: len(journal)]
        return Outcome(len(self.texts), lost, wrong, is_prefix)


def _text(memory: MemoryOS, cube_id: str) -> str | None:
    try:
        return memory.get(cube_id).text
    except EngramosError:
        return None


def cut_once(tmp_path, empty, seed, *, durability="full", synchronous=None, failpoint=None):
    rng = random.Random(str(seed))
    folder = tmp_path / f"cut-{seed}"
    shutil.copytree(empty, folder)
    disk = Disk(f"disk-{seed}", seed, None if failpoint else rng.randint(1, MAX_OPERATIONS))
    cut = PowerCut(folder, disk, durability=durability, synchronous=synchronous)
    if failpoint:
        failpoints.arm(failpoint, disk.cut)
    cut.run(seed, rng.choice((1, 4)))
    cut.memory.close()
    failpoints.arm(None)
    disk.unregister()
    assert disk.is_cut, "the workload ended before its power was cut"
    return cut.compare(tmp_path / f"survived-{seed}")


def cut_many(tmp_path, empty, seeds, **how):
    """Cut once a seed; print and return how many runs lost rows, how many rows, and how many broke."""
    totals = Counter(runs=0, acknowledged=0, runs_with_loss=0, lost=0, broken=0, not_a_prefix=0)
    outcomes = {}
    for seed in seeds:
        outcome = outcomes[seed] = cut_once(tmp_path, empty, seed, **how)
        totals["runs"] += 1
        totals["acknowledged"] += outcome.acknowledged
        totals["lost"] += len(outcome.lost)
        totals["runs_with_loss"] += bool(outcome.lost)
        totals["broken"] += bool(outcome.wrong)
        totals["not_a_prefix"] += not outcome.is_prefix
    print(f"\npower loss, {how or 'full'}: {dict(totals)}")
    return totals, outcomes


@pytest.mark.parametrize("first_seed", [0, 1_000])
def test_twenty_five_power_cuts_lose_nothing_that_was_acknowledged(tmp_path, empty, first_seed):
    demand_no_loss(tmp_path, empty, range(first_seed, first_seed + 25))


@pytest.mark.slow
def test_five_hundred_power_cuts_lose_nothing_that_was_acknowledged(tmp_path, empty):
    demand_no_loss(tmp_path, empty, range(10_000, 10_500))


def demand_no_loss(tmp_path, empty, seeds):
    totals, outcomes = cut_many(tmp_path, empty, seeds)
    for seed, outcome in outcomes.items():
        demand_nothing(outcome.found, tmp_path / f"survived-{seed}", {"seed": seed})
    assert (totals["lost"], totals["broken"], totals["not_a_prefix"]) == (0, 0, 0)
    assert totals["acknowledged"] > 500


@pytest.mark.parametrize("failpoint", FAILPOINTS)
@pytest.mark.parametrize("count", [1, 5])
def test_a_power_cut_at_a_named_place_loses_nothing_that_was_acknowledged(tmp_path, empty, failpoint, count):
    seed = f"{failpoint}{count}"
    outcome = cut_once(tmp_path, empty, seed, failpoint=f"{failpoint}:call:{count}")
    demand_nothing(outcome.found, tmp_path / f"survived-{seed}", {"seed": seed})
    assert outcome.is_prefix


def test_relaxed_loses_only_the_newest_and_never_breaks(tmp_path, empty):
    totals, outcomes = cut_many(tmp_path, empty, range(2_000, 2_015), durability="relaxed")
    for seed, outcome in outcomes.items():
        demand_nothing(outcome.wrong, tmp_path / f"survived-{seed}", {"seed": seed})
        assert outcome.is_prefix, f"seed {seed}: what survived is no prefix of what was committed"
    # the disk can lose rows: without this, the tests above would prove nothing
    assert totals["runs_with_loss"] >= 1


def test_without_any_sync_the_memory_breaks_or_loses(tmp_path, empty):
    totals, _ = cut_many(tmp_path, empty, range(3_000, 3_008), synchronous="OFF")
    assert totals["broken"] + totals["runs_with_loss"] >= 4
    assert totals["broken"] >= 1


@pytest.mark.parametrize("error", ["IOError", "FullError"])
@pytest.mark.parametrize("seed", [4_000, 4_001, 4_002])
def test_a_failing_disk_is_reported_and_takes_nothing_that_was_acknowledged(tmp_path, empty, seed, error):
    """P9: one write or sync of a hundred fails; the memory goes on, and after a power cut all is there."""
    folder = tmp_path / "failing"
    shutil.copytree(empty, folder)
    disk = Disk(f"failing-{seed}-{error}", seed, fail_rate=0.01, error=error)
    cut = PowerCut(folder, disk, durability="full")
    cut.refused = []
    cut.run(seed, 4, num=60)
    disk.fail_rate = 0.0
    last = cut.memory.add("t9n0xp0of1 the disk works again").cube_ids[0]
    cut.texts[last] = {"t9n0xp0of1 the disk works again"}
    disk.cut()
    cut.memory.close()
    disk.unregister()
    outcome = cut.compare(tmp_path / "survived")
    print(
        f"\n{error}: {disk.num_failures} faults, {len(cut.refused)} requests refused, {outcome.acknowledged} cubes kept"
    )
    demand_nothing(outcome.found, tmp_path / "survived", {"seed": seed, "error": error})
    assert len(cut.refused) >= 3
    assert all("free space or check the disk" in one for one in cut.refused)


def test_the_disk_keeps_what_was_synced_and_half_of_the_rest():
    image = Image(bytearray(b"a" * 5_120), bytearray(b"a" * 5_120), True)
    image.write(b"b" * 5_120, 0)
    found = image.after_cut(random.Random(1))
    assert 0 < found.count(b"b" * 512) < 10
    image.sync()
    image.truncate(100)
    image.write(b"c", 2_047)
    assert {len(image.after_cut(random.Random(seed))) for seed in range(40)} == {100, 2_048, 5_120}
    image.sync()
    assert image.after_cut(random.Random(1)) == b"b" * 100 + bytes(1_947) + b"c"
