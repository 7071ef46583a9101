"""The package says what is public, completely and in order, and each of it is documented."""

import ast
import inspect
from pathlib import Path

import pytest

import engramos
from engramos import memory

SOURCE = Path(__file__).parents[1] / "src" / "engramos"
FILES = sorted(SOURCE.rglob("*.py"))


def undocumented(source: str) -> list[str]:
    """Return the public modules, classes, functions and methods of a source that have no docstring."""
    tree = ast.parse(source)
    missing = [] if ast.get_docstring(tree) else ["module"]

    def look(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                if child.name.startswith("_"):
                    continue
                if not ast.get_docstring(child):
                    missing.append(prefix + child.name)
                if isinstance(child, ast.ClassDef):
                    look(child, f"{prefix}{child.name}.")

    look(tree, "")
    return missing


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_everything_public_has_a_docstring(path: Path) -> None:
    assert undocumented(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_all_is_sorted_and_complete_where_there_is_one(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    given = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
    ]
    for names in given:
        # constants, then classes, then the rest: the order that ruff asks for
        assert list(names) == sorted(names, key=lambda name: (not name.isupper(), name[0].islower(), name))
        assert len(set(names)) == len(names)


def test_all_names_of_the_package_can_be_imported_and_nothing_is_left_out() -> None:
    homes = engramos._HOMES
    assert set(engramos.__all__) == {*homes, "__version__"}
    assert list(homes) == sorted(homes)
    assert dir(engramos) == engramos.__all__
    for name in homes:
        assert getattr(engramos, name).__module__ == homes[name]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = engramos.no_such_name


def test_every_verb_stands_in_a_file_of_its_own() -> None:
    files = {path.stem for path in (SOURCE / "verbs").glob("*.py")} - {"__init__", "parts", "sources"}
    verbs = set(memory.VERBS)
    assert files <= verbs, f"files that are no verb: {files - verbs}"
    for name in verbs:
        assert inspect.getdoc(getattr(memory.MemoryOS, name)), name


def test_every_verb_on_kv_cubes_stands_in_a_file_of_its_own() -> None:
    tree = ast.parse((SOURCE / "kv.py").read_text(encoding="utf-8"))
    (home,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    methods = {node.name for node in home.body if isinstance(node, ast.FunctionDef)}
    files = {path.stem for path in (SOURCE / "verbs" / "kv").glob("*.py") if not path.stem.startswith("_")}
    named = {name for name in methods if not name.startswith("_")} - {"engine", "ram_bytes_used", "close"}
    assert files == named


def test_every_file_of_a_verb_on_adapters_is_named_by_a_method() -> None:
    tree = ast.parse((SOURCE / "parametric_memory.py").read_text(encoding="utf-8"))
    (home,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    methods = {node.name for node in home.body if isinstance(node, ast.FunctionDef)}
    files = {path.stem for path in (SOURCE / "verbs" / "parametric").glob("*.py") if not path.stem.startswith("_")}
    assert files <= methods
    assert {"learn", "forget", "probe", "rollback"} <= files


def test_a_missing_docstring_is_seen() -> None:
    assert undocumented('"""Module."""\nclass A:\n    """A."""\n    def b(self): pass\n') == ["A.b"]
