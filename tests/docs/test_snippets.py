"""The Python in README and in the how-tos runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "howto").glob("*.md"))]
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search(page.read_text())], ids=lambda page: page.stem)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if page.name != "README.md":
        monkeypatch.setenv("ENGRAMOS_EMBEDDER", "hashing")
    names = {"__name__": "__main__"}
    for block in BLOCK.findall(page.read_text()):
        exec(compile(block, str(page), "exec"), names)


def test_the_readme_shows_ten_lines_of_python():
    (block,) = BLOCK.findall((ROOT / "README.md").read_text())
    assert len([line for line in block.splitlines() if line.strip()]) <= 10


def test_every_link_of_the_docs_leads_somewhere():
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "GUARANTEES.md", *ROOT.glob("docs/**/*.md")]
    broken = [
        f"{page.relative_to(ROOT)} -> {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert not broken


def test_every_test_that_guarantees_name_exists():
    named = re.findall(r"`(tests/[\w/]+\.py)`", (ROOT / "GUARANTEES.md").read_text())
    assert len(named) > 20
    assert not [path for path in named if not (ROOT / path).is_file()]


@pytest.mark.parametrize(
    "module",
    ["benchmarks.recall_table", "benchmarks.kv_table", "benchmarks.parametric_table", "benchmarks.speed.table"],
)
def test_the_tables_of_the_readme_are_those_of_the_committed_results(module):
    done = subprocess.run([sys.executable, "-m", module, "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
