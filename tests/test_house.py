"""What the code of the package may not do, found by reading it."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "engramos"
FILES = sorted(SOURCE.rglob("*.py"))
CATCHES_ALL = ("scheduler/worker.py", "server/", "cli/")
"""The three top levels, which may catch every error."""
BANNED_CALLS = {"eval", "exec", "compile", "__import__"}
BANNED_ATTRIBUTES = {("torch", "load"), ("yaml", "load"), ("pickle", "load"), ("pickle", "loads"), ("marshal", "loads")}
BANNED_MODULES = {"pickle", "cPickle", "dill", "shelve", "marshal", "cloudpickle", "joblib"}
BANNED_WORDS = ("factory", "manager", "helper", "handler", "utils")
CLOCKS = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("uuid", "uuid4")}


def dotted(node: ast.AST) -> str:
    """Return the dotted name of an expression, empty where it is none."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def broad_catches(tree: ast.AST) -> list[str]:
    """Return where every error is caught."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if any(one is None or dotted(one) in ("Exception", "BaseException") for one in caught):
                found.append(f"line {node.lineno}")
        is_suppressed = isinstance(node, ast.Call) and dotted(node.func).endswith("suppress")
        if is_suppressed and any(dotted(one) in ("Exception", "BaseException") for one in node.args):
            found.append(f"line {node.lineno}")
    return found


def reads_environment(tree: ast.AST) -> list[str]:
    """Return where the environment is read."""
    names = {"os.environ", "os.getenv", "os.putenv", "os.environb"}
    found = [f"line {node.lineno}" for node in ast.walk(tree) if dotted(node) in names]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            found += [f"line {node.lineno}" for one in node.names if one.name in ("environ", "getenv")]
    return found


def runs_data_as_code(tree: ast.AST) -> list[str]:
    """Return where bytes or text could become code."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"line {node.lineno}: {one}" for one in names if one.split(".")[0] in BANNED_MODULES]
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            if name in BANNED_CALLS or tuple(name.split(".")[-2:]) in BANNED_ATTRIBUTES:
                found.append(f"line {node.lineno}: {name}")
    return found


def is_constant_sql(node: ast.AST) -> bool:
    """Return whether an argument of execute is a constant, or a named statement, and so holds no value."""
    if isinstance(node, ast.Constant):
        return True
    if isinstance(node, ast.IfExp):
        return is_constant_sql(node.body) and is_constant_sql(node.orelse)
    return isinstance(node, ast.Call) and dotted(node.func) == "sql"


def loose_sql(tree: ast.AST) -> list[str]:
    """Return the statements that are put together from parts."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
            continue
        if node.func.attr not in ("execute", "executemany", "executescript"):
            continue
        if dotted(node.func.value) in ("commit", "self") and len(node.args) == 1:
            # Commit.execute takes a statement's name and looks it up itself; values come by keyword
            continue
        if not is_constant_sql(node.args[0]):
            found.append(f"line {node.lineno}: {ast.unparse(node.args[0])}")
    return found


def own_clocks(tree: ast.AST) -> list[str]:
    """Return where time or identity is taken from somewhere else than clock.py."""
    return [
        f"line {node.lineno}: {dotted(node.func)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and tuple(dotted(node.func).split(".")[-2:]) in CLOCKS
    ]


def found_in(check, *, but: tuple[str, ...] = ()) -> list[str]:
    """Return what a check finds in the package, some files left out."""
    wrong = []
    for path in FILES:
        name = path.relative_to(SOURCE).as_posix()
        if not name.startswith(but):
            wrong += [f"{name} {one}" for one in check(ast.parse(path.read_text(encoding="utf-8")))]
    return wrong


def test_nothing_catches_every_error_outside_of_the_three_top_levels() -> None:
    assert found_in(broad_catches, but=CATCHES_ALL) == []


def test_only_settings_read_the_environment() -> None:
    assert found_in(reads_environment, but=("config.py",)) == []


def test_nothing_runs_data_as_code() -> None:
    assert found_in(runs_data_as_code) == []


def test_only_the_clock_tells_the_time() -> None:
    assert found_in(own_clocks, but=("clock.py",)) == []


def test_no_statement_is_put_together_from_parts() -> None:
    # the connection's pragmas take one word of a fixed table, which no caller can reach
    wrong = found_in(loose_sql)
    assert [one for one in wrong if not one.startswith("vault/sqlite/connection.py") or "PRAGMA" not in one] == []
    assert len(wrong) <= 1


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_names_say_what_a_thing_does(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = [node.name.lower() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    names = [*classes, path.stem.lower()]
    assert [name for name in names for word in BANNED_WORDS if word in name] == []


def test_a_class_has_at_most_one_base() -> None:
    """Errors may also be a built-in error, and a generic names its variable."""

    def several(tree: ast.AST) -> list[str]:
        return [
            node.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
            and len([base for base in node.bases if dotted(base) not in ("ABC", "Protocol")]) > 1
        ]

    assert found_in(several, but=("errors.py",)) == []


def test_each_check_sees_what_it_is_for() -> None:
    assert broad_catches(ast.parse("try: pass\nexcept Exception: pass"))
    assert broad_catches(ast.parse("try: pass\nexcept: pass"))
    assert reads_environment(ast.parse("import os\nos.environ['A']"))
    assert runs_data_as_code(ast.parse("import pickle"))
    assert runs_data_as_code(ast.parse("torch.load(path)"))
    assert loose_sql(ast.parse("connection.execute(f'SELECT {name}')"))
    assert loose_sql(ast.parse("connection.execute('SELECT ' + name)"))
    assert loose_sql(ast.parse("connection.execute(statement)"))
    assert not loose_sql(ast.parse("connection.execute(sql('head'), values)"))
    assert own_clocks(ast.parse("datetime.datetime.now()"))
