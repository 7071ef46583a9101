"""When, and from which commit, a result came."""

import subprocess
from pathlib import Path

from engramos.clock import now


def stamp() -> dict[str, str]:
    """Return `commit` and `at`, as results carry them."""
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent, check=False)
    return {"commit": done.stdout.strip(), "at": now().isoformat(timespec="seconds")}
