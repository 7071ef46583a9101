"""What a result was measured on, and with which versions."""

import importlib.metadata
import os
import platform
import sqlite3
import subprocess
from typing import Any

from benchmarks.speed.child import ROOT

PACKAGES = ("engramos", "numpy", "snowballstemmer")


def machine() -> dict[str, Any]:
    """Return the processor, memory and system."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.platform(),
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """Return the versions that the numbers depend on."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version} | found


def commit() -> str:
    """Return the commit that was measured, with `+changes` where the files differ from it; empty without git."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        changes = ["git", "status", "--porcelain", "--", "src", "benchmarks/speed"]
        changed = subprocess.run(changes, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.strip() + ("+changes" if changed.strip() else "")
