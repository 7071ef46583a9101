"""Imports point down: each part of the package may use the rings below its own, and of its own ring only itself.

The table is docs/architecture.md as data. It is never edited to make a build pass.
"""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "engramos"
RINGS = (
    ("cube", "scope", "changes", "errors", "config", "clock", "roles", "messages", "rows", "failpoints"),
    ("plaintext", "activation", "parametric", "lifecycle", "governance", "placement"),
    ("vault", "embedders", "importers", "rerankers", "llms", "engines"),
    ("verbs", "scheduler"),
    ("memory", "async_memory", "kv", "parametric_memory", "testing"),
    ("cli", "server", "integrations", "evals"),
)
RING_OF = {part: number for number, ring in enumerate(RINGS, start=1) for part in ring}
TOGETHER = (1, 4, 5)
"""Rings whose parts may use each other: plain data, verbs with their jobs, and the assembly."""
OUTSIDE = (
    "yoyo",
    "sqlite3",
    "apsw",
    "onnxruntime",
    "torch",
    "transformers",
    "psycopg",
    "fastapi",
    "httpx",
    "typer",
    "peft",
)
"""Libraries that do I/O: rings 1 and 2 know none of them."""
TENSOR_PARTS = ("activation", "parametric")
"""Parts of ring 2 whose values are tensors: for them torch is what numpy is for the others (decision 0014)."""


def part_of(path: Path) -> str:
    """Return the part of the package that a file belongs to; empty for the package itself."""
    first = path.relative_to(SOURCE).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def imports_of(tree: ast.AST) -> list[str]:
    """Return the dotted names that a module imports, inside of functions too."""
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the direction"
            if node.module == "engramos":
                found += [f"engramos.{alias.name}" for alias in node.names]
            else:
                found.append(node.module or "")
    return found


def wrong_imports(part: str, imports: list[str]) -> list[str]:
    """Return the imports of a part that do not point down."""
    wrong = []
    for name in imports:
        if not name.startswith("engramos.") or not part or name == "engramos.__version__":
            continue
        other = name.split(".")[1]
        mine, theirs = RING_OF[part], RING_OF.get(other)
        if theirs is None:
            wrong.append(f"{name}: not in the table")
        elif other == part or theirs < mine or (theirs == mine and mine in TOGETHER):
            continue
        elif part == "cli" and other == "evals":
            continue  # a command names its benchmark; the evals know nothing of commands
        else:
            wrong.append(f"{name}: ring {theirs} from ring {mine}")
    return wrong


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert wrong_imports(part_of(path), imports_of(tree)) == []


def test_every_part_has_a_ring() -> None:
    parts = {part_of(path) for path in FILES} - {"", "__main__"}
    assert parts <= RING_OF.keys()


def test_plain_data_and_methods_know_no_library_that_does_io() -> None:
    wrong = [
        f"{path.relative_to(SOURCE)} imports {name}"
        for path in FILES
        if RING_OF.get(part_of(path), 9) <= 2
        for name in imports_of(ast.parse(path.read_text(encoding="utf-8")))
        if name.split(".")[0] in OUTSIDE and not (name.split(".")[0] == "torch" and part_of(path) in TENSOR_PARTS)
    ]
    assert wrong == []


def test_tensor_methods_load_and_save_nothing() -> None:
    calls = ("torch.load", "torch.save", "torch.hub", "torch.from_file", "torch.UntypedStorage")
    wrong = [
        f"{path.relative_to(SOURCE)} has {call}"
        for path in FILES
        if part_of(path) in TENSOR_PARTS
        for call in calls
        if call in path.read_text(encoding="utf-8")
    ]
    assert wrong == []


def test_plain_data_needs_the_standard_library_alone() -> None:
    import sys

    wrong = [
        f"{path.name} imports {name}"
        for path in FILES
        if RING_OF.get(part_of(path)) == 1
        for name in imports_of(ast.parse(path.read_text(encoding="utf-8")))
        if name.split(".")[0] not in {*sys.stdlib_module_names, "engramos"}
    ]
    assert wrong == []


def test_an_import_that_points_up_is_seen() -> None:
    assert wrong_imports("plaintext", ["engramos.vault.sqlite.vault"])
    assert wrong_imports("vault", ["engramos.embedders.base"])
    assert wrong_imports("cli", ["engramos.server.rest"])
    assert wrong_imports("cube", ["engramos.nothing_known"])
    assert not wrong_imports("verbs", ["engramos.scheduler.triggers", "engramos.vault.sqlite.vault"])
