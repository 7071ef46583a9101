"""Starts workers, kills them, and compares what they acknowledged with what a new process finds."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crash import whole

WORKER = Path(__file__).with_name("worker_process.py")
HASHING = {"embedder": "hashing"}


class Worker:
    """A process in one of the modes of `worker_process.py`, and the lines that it has reported."""

    def __init__(self, mode: str, folder: Path, *, prefix: tuple[str, ...] = (), settings: Any = None, **task: Any):
        task |= {"mode": mode, "folder": str(folder), "settings": HASHING | (settings or {})}
        self.lines: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [*prefix, sys.executable, str(WORKER), json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the lines as they come, until the process ends or the caller stops."""
        for data in self.process.stdout:
            if data.endswith(b"\n"):
                self.lines.append(json.loads(data))
                yield self.lines[-1]

    def read_until(self, is_enough: Callable[[dict[str, Any]], bool]) -> None:
        for line in self.read():
            if is_enough(line):
                return
        raise AssertionError(f"the worker ended early: {self.lines[-3:]}\n{self.process.stderr.read().decode()}")

    def kill(self, *, may_have_ended: bool = False) -> bool:
        """Kill -9, and read what it had acknowledged by then; return False if it had ended by itself."""
        self.process.send_signal(signal.SIGKILL)
        returncode = self.process.wait()
        self.finish(0 if may_have_ended and returncode == 0 else -signal.SIGKILL)
        return returncode != 0

    def finish(self, returncode: int = 0, given: bytes = b"") -> None:
        """Wait for the end of the process and demand how it ended."""
        if given:
            self.process.stdin.write(given)
        self.process.stdin.close()
        for _ in self.read():
            pass
        error = self.process.stderr.read().decode()
        assert self.process.wait() == returncode, f"ended with {self.process.returncode}: {self.lines[-3:]}\n{error}"

    def named(self, name: str) -> list[Any]:
        return [line[name] for line in self.lines if name in line]


@dataclass
class Acknowledged:
    """What a memory must hold: for each cube, the digests that its text may have."""

    digests: dict[str, list[str]] = field(default_factory=dict)
    expired: set[str] = field(default_factory=set)
    erased: set[str] = field(default_factory=set)
    blobs: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)

    def take(self, lines: list[dict[str, Any]]) -> int:
        """Take a worker's lines; what was begun and not acknowledged may be there or not. Returns how many cubes."""
        num = 0
        for line in lines:
            if "ids" in line:
                self.digests |= {one: [digest] for one, digest in zip(line["ids"], line["digests"], strict=True)}
                num += len(line["ids"])
            elif line.get("begins") == "update":
                self.digests[line["id"]].append(line["digest"])
            elif line.get("begins") in ("expire", "erase"):
                self.digests.pop(line["id"], None)
            elif "expired" in line:
                self.expired.add(line["expired"])
            elif "erased" in line:
                self.erased.add(line["erased"])
            elif "blob" in line:
                self.blobs.add(line["blob"])
            elif "error" in line:
                self.errors.append(line["error"])
        return num


@dataclass
class Totals:
    """The numbers that a crash test prints."""

    kills: int = 0
    acknowledged: int = 0
    lost: int = 0


def find_loss(folder: Path, wanted: Acknowledged) -> tuple[int, list[str]]:
    """Open the memory in a new process and return how many cubes are lost, and everything that is wrong."""
    with Worker("check", folder) as checker:
        checker.finish(given=json.dumps(wanted.digests).encode())
    summary = checker.lines[-1]
    assert summary["checked"] == len(wanted.digests)
    found = [*wanted.errors, *checker.named("problem"), *whole.problems(folder)]
    return summary["lost"], found


def kill_once(folder: Path, seed: int, number: int, wanted: Acknowledged, totals: Totals) -> None:
    """Add from 8 threads, kill -9 at a random moment, and compare.

    The moment is a number of acknowledgements and then up to 4 ms, about as long as one commit.
    """
    rng = random.Random(f"{seed}/{number}")
    num_acks, spin_s = rng.choice((0, rng.randint(1, 30), rng.randint(1, 150))), rng.uniform(0, 0.004)
    with Worker("add", folder, seed=f"{seed}k{number}") as worker:
        worker.read_until(lambda line: "opened" in line)
        while len(worker.named("ids")) < num_acks:
            worker.read_until(lambda line: "ids" in line)
        end = time.perf_counter() + spin_s
        while time.perf_counter() < end:
            pass
        worker.kill()
    totals.kills += 1
    totals.acknowledged += wanted.take(worker.lines)
    num_lost, found = find_loss(folder, wanted)
    totals.lost += num_lost
    moment = {"seed": seed, "kill": number, "after_acknowledgements": num_acks, "then_s": spin_s}
    demand_nothing(found, folder, moment)


def demand_nothing(found: list[str], folder: Path, moment: dict[str, Any]) -> None:
    """Fail if anything was found, and leave a file that says how to do the same again."""
    if found:
        replay = folder.with_name(f"replay-{folder.name}.json")
        replay.write_text(json.dumps({**moment, "folder": str(folder), "found": found}, indent=1))
        raise AssertionError(f"{len(found)} problems; replay file {replay}; first: {found[:5]}")
