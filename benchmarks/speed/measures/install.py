"""Installing the package with its default extras into a fresh environment."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.speed.child import ROOT
from benchmarks.speed.numbers import number

MOST_MB, MOST_PACKAGES = 450.0, 40
NOT_OURS = {"pip", "setuptools", "wheel"}


def measure(folder: str) -> list[dict[str, Any]]:
    """Return the bytes and the number of packages that `pip install .[default]` brings, and whether torch is there."""
    environment = Path(folder, "venv")
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    before = num_bytes(environment)
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", f"{ROOT}[default]"], check=True, stdout=sys.stderr)
    listed = subprocess.run([*pip, "list", "--format", "json"], check=True, capture_output=True, text=True).stdout
    names = {one["name"].lower() for one in json.loads(listed)} - NOT_OURS
    return [
        number(
            "install with the default embedder: on disk", (num_bytes(environment) - before) / 1e6, "MB", most=MOST_MB
        ),
        number("install with the default embedder: packages", len(names), "packages", most=MOST_PACKAGES),
        number("install with the default embedder: torch among them", float("torch" in names), "packages", most=0),
    ]


def num_bytes(folder: Path) -> int:
    """Return the bytes that the files of a folder take on the disk."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*") if not path.is_symlink() and path.is_file())
