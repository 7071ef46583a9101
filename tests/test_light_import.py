"""Importing the package does no work and loads nothing heavy; so does importing its main class."""

import subprocess
import sys

import pytest

HEAVY = "torch transformers fastapi psycopg onnxruntime tokenizers rich typer yoyo httpx pydantic scipy".split()
PROGRAM = """
import sys
{line}
print(*sorted(set(sys.modules) & set({heavy!r})))
"""


@pytest.mark.parametrize("line", ["import engramos", "from engramos import MemoryOS, AsyncMemoryOS, Settings"])
def test_import_loads_nothing_heavy(line: str) -> None:
    program = PROGRAM.format(line=line, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_import_of_the_package_loads_none_of_its_modules() -> None:
    program = "import sys, engramos\nprint(*[name for name in sys.modules if name.startswith('engramos.')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_import_writes_nothing_and_reads_no_setting(tmp_path) -> None:
    (tmp_path / "engramos.toml").write_text("this is no TOML [")
    program = "from engramos import MemoryOS"
    environment = {"ENGRAMOS_CONFIG": str(tmp_path / "missing.toml"), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["engramos.toml"]
