"""The command: `python -m benchmarks.speed [--size small|full] [--peers] [--out FILE]`."""

import argparse
import json
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.speed.child import ROOT, ChildFailedError, run_child
from benchmarks.speed.machine import commit, machine, versions
from benchmarks.speed.peers.compare import compare
from benchmarks.speed.sizes import SIZES, Size
from benchmarks.speed.table import tables

from engramos import config

MEASURES = ("add_one", "add_batch", "search", "tenants", "open_vault", "install")


def main() -> None:
    """Measure, print the tables, write the JSON."""
    asked = _arguments()
    size = SIZES[asked.size]
    data = config.load({"data": asked.data}).data
    result: dict[str, Any] = {
        "command": _command(sys.argv[1:]),
        "settings": {"size": asked.size, "seed": asked.seed, "text": "real turns" if data else "made"} | vars(size),
        "commit": commit(),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "measures": {},
        "failed": {},
    }
    with tempfile.TemporaryDirectory(prefix="speed-", dir=asked.folder) as folder:
        for name in asked.only or MEASURES:
            _measure(result, name, size, asked.seed, folder, None if data is None else str(data.resolve()))
        if asked.peers or asked.peers_python:
            result["peers"] = compare(asked.seed, Path(folder), size, asked.peers_python)
    print(tables(result))
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten to {asked.out}", file=sys.stderr)


def _command(arguments: list[str]) -> str:
    """Return the command as it was given, without the paths of this machine."""
    private = ("--data", "--folder", "--peers-python")
    shown = ["PATH" if at and arguments[at - 1] in private else argument for at, argument in enumerate(arguments)]
    return " ".join(["python -m benchmarks.speed", *shown])


def _measure(result: dict[str, Any], name: str, size: Size, seed: int, folder: str, data: str | None) -> None:
    """Run one measure in processes of its own and put its numbers into the result."""
    print(f"measuring {name} ...", file=sys.stderr, flush=True)
    numbers: list[dict[str, Any]] = []
    result["measures"][name] = numbers
    try:
        numbers += _RUNS[name](size, {"seed": seed, "folder": folder}, data)
    except ChildFailedError as error:
        result["failed"][name] = str(error)
    for path in Path(folder).iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _add_one(size: Size, given: dict[str, Any], data: str | None) -> list[dict[str, Any]]:
    return run_child("measures.add_one", "measure", num=size.adds, data=data, **given)


def _add_batch(size: Size, given: dict[str, Any], data: str | None) -> list[dict[str, Any]]:
    return run_child("measures.add_batch", "measure", num=size.batch_adds, data=data, **given)


def _search(size: Size, given: dict[str, Any], data: str | None) -> list[dict[str, Any]]:
    numbers = []
    for num in size.searched:
        run_child("measures.search", "build", num=num, data=data, **given)
        numbers += run_child("measures.search", "measure", num=num, data=data, **given)
        shutil.rmtree(Path(given["folder"], "memory"))
    return numbers


def _tenants(size: Size, given: dict[str, Any], data: str | None) -> list[dict[str, Any]]:
    common = {"num": size.beside_tenants, "data": data}
    for tenants in size.tenants:
        run_child("measures.tenants", "build", tenants=tenants, **common, **given)
    return run_child("measures.tenants", "measure", tenants=size.tenants, **common, **given)


def _open_vault(size: Size, given: dict[str, Any], data: str | None) -> list[dict[str, Any]]:
    run_child("measures.open_vault", "build", num=size.opened, data=data, **given)
    return run_child("measures.open_vault", "measure", num=size.opened, **given)


def _install(size: Size, given: dict[str, Any], data: str | None) -> list[dict[str, Any]]:
    return run_child("measures.install", "measure", folder=given["folder"])


_RUNS = dict(zip(MEASURES, (_add_one, _add_batch, _search, _tenants, _open_vault, _install), strict=True))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed",
        description="Measure speed and scale beside a bare SQLite and beside peers; print tables, write JSON.",
    )
    parser.add_argument("--size", choices=sorted(SIZES), default="small", help="full takes about half an hour")
    parser.add_argument("--peers", action="store_true", help="measure peers too, in an environment made for them")
    parser.add_argument("--peers-python", metavar="PATH", help="the interpreter of an environment that has them")
    parser.add_argument("--only", nargs="+", choices=MEASURES, metavar="NAME", help=f"some of {', '.join(MEASURES)}")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--data", metavar="DIR", help="evaluation data: real turns, with words exchanged")
    parser.add_argument("--folder", metavar="DIR", help="where the vaults lie meanwhile; full needs 10 GB")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: benchmarks/results/speed-SIZE.json")
    asked = parser.parse_args()
    asked.out = asked.out or ROOT / "benchmarks" / "results" / f"speed-{asked.size}.json"
    return asked


if __name__ == "__main__":
    main()
