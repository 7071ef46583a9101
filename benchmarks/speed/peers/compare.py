"""Runs every peer on the very same texts and vectors, each in processes of its own, under a time limit."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.speed.child import ChildFailedError, run_child
from benchmarks.speed.sizes import Size

NAMES = {"mem0": "mem0 (infer=False)", "langgraph": "LangGraph InMemoryStore", "chroma": "Chroma", "txtai": "txtai"}
TIME_LIMIT_S = 300.0
REQUIREMENTS = Path(__file__).parents[1] / "requirements-peers.txt"
FIRST = "torch==2.13.0"
"""Installed before the others, so that pip does not choose another build for txtai."""


def compare(seed: int, folder: Path, size: Size, python: str | None) -> list[dict[str, Any]]:
    """Return one row for engramos and one a peer.

    Args:
        seed: of texts and vectors.
        folder: for their stores.
        size: how many texts are searched.
        python: of an environment with the peers; None makes one in `folder`.
    """
    rows = [_row(seed, folder, size, "engramos", "engramos", sys.executable)]
    try:
        python = python or _environment(folder / "peers-venv")
    except subprocess.CalledProcessError as error:
        return rows + [{"name": title, "failed": f"not installed: {error}"} for title in NAMES.values()]
    return rows + [_row(seed, folder, size, name, title, python) for name, title in NAMES.items()]


def _environment(folder: Path) -> str:
    """Make an environment that has all peers and return its interpreter."""
    print("installing the peers ...", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = str(folder / "bin" / "python")
    for wanted in ([FIRST], ["--requirement", str(REQUIREMENTS)]):
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return python


def _row(seed: int, folder: Path, size: Size, name: str, title: str, python: str) -> dict[str, Any]:
    print(f"measuring {title} ...", file=sys.stderr, flush=True)
    row: dict[str, Any] = {"name": title, "search_p50_ms": {}, "found": {}}
    for num in size.peers:
        place = folder / f"peer-{name}"
        place.mkdir()
        try:
            found = run_child(
                "peers.run", "speed", python=python, timeout_s=TIME_LIMIT_S,
                seed=seed, folder=str(place), name=name, num=num,
            )  # fmt: skip
        except ChildFailedError as error:
            if num == size.peers[0]:
                return {"name": title, "failed": str(error)}
            row.setdefault("left_out", {})[str(num)] = str(error)
            continue
        finally:
            shutil.rmtree(place)
        row["search_p50_ms"][str(num)] = found.pop("search_p50_ms")
        row["found"][str(num)] = found.pop("found")
        row = found | row
    return row | {"outlives": _outlives(seed, folder, name, python)}


def _outlives(seed: int, folder: Path, name: str, python: str) -> str:
    """Return how many acknowledged adds a new process finds after the adding one was killed."""
    place = folder / f"killed-{name}"
    place.mkdir()
    common = {"python": python, "timeout_s": TIME_LIMIT_S, "seed": seed, "folder": str(place), "name": name}
    acknowledged = Path(f"{place}.acknowledged")
    try:
        try:
            run_child("peers.run", "add_then_die", **common)
        except ChildFailedError as error:
            if not acknowledged.exists():
                return f"failed: {error}"
        num = run_child("peers.run", "outlived", **common)
    except ChildFailedError as error:
        return f"failed: {error}"
    finally:
        shutil.rmtree(place)
        acknowledged.unlink(missing_ok=True)
    return f"{num} of 20" + (" (not durable)" if num == 0 else "")
