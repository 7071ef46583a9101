"""Files and functions stay small: there is no list of exceptions."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAX_FILE = 400
MAX_TEST_FILE = 500
MAX_FUNCTION = 40


def too_long_files(folder: Path, most: int) -> list[str]:
    """Return the Python files of a folder with more lines than `most`."""
    sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sorted(folder.rglob("*.py"))}
    return [f"{path.relative_to(folder)}: {size}" for path, size in sizes.items() if size > most]


def function_sizes(source: str) -> Iterator[tuple[str, int]]:
    """Yield the name and the lines of each function, its docstring and signature's decorators not counted."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = node.body[0]
        text = ast.get_docstring(node, clean=False)
        docstring = 0 if text is None else (first.end_lineno or 0) - first.lineno + 1
        yield node.name, (node.end_lineno or 0) - node.lineno + 1 - docstring


def test_no_source_file_is_over_400_lines() -> None:
    assert too_long_files(ROOT / "src", MAX_FILE) == []


def test_no_test_file_is_over_500_lines() -> None:
    assert too_long_files(ROOT / "tests", MAX_TEST_FILE) == []


def test_no_function_is_over_40_lines() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name} has {size}"
        for path in sorted((ROOT / "src").rglob("*.py"))
        for name, size in function_sizes(path.read_text(encoding="utf-8"))
        if size > MAX_FUNCTION
    ]
    assert wrong == []


def test_a_long_function_is_seen_and_its_docstring_is_not_counted() -> None:
    body = "\n".join("    a = 1" for _ in range(45))
    assert dict(function_sizes(f"def long():\n{body}\n")) == {"long": 46}
    assert dict(function_sizes(f'def short():\n    """One\n\n{body}\n    """\n    return 1\n')) == {"short": 2}
