"""P12 for SQLite: every named statement that touches a tenant's table asks for the tenant, for each use of the table.

The statements are taken apart into selects, each with the tables of its own FROM. For every use of a tenant's table
the select, or the ON of its join, must hold `alias.tenant = :tenant`; an INSERT must write the tenant, an UPDATE and a
DELETE must ask for it.
"""

import re
from dataclasses import dataclass, field
from importlib.resources import files

import pytest

from engramos.vault.sqlite.sql import QUERY_FILES, parse

PACKAGE = files("engramos.vault.sqlite")
ALLOWED = {
    "last_cube_key": "keys are unique in the file, so that the full-text index can name them; a number says nothing",
    "tenants": "reembed and verify go over all tenants, one after another; only the process itself calls them",
    "tenants_with_jobs": "the worker goes over all tenants, one after another",
    "merge_text_index": "a command to the index; it returns no row",
    "check_text_index": "a command to the index; it returns no row",
    "clear_text_index": "a command to the index, in a repair that makes it anew for all tenants; it returns no row",
    "tenants_in_rows": "verify goes over all tenants, one after another; only the process itself calls it",
}
"""Statements that may touch a tenant's table without a tenant, each with its reason."""
KEYWORDS = {
    "where",
    "on",
    "set",
    "order",
    "group",
    "limit",
    "left",
    "cross",
    "join",
    "inner",
    "union",
    "returning",
    "as",
}
KEYWORDS |= {"values", "and", "or", "select", "using", "not", "do", "default"}
NAMES = ("json_each",)
"""Table functions: no tables."""
TOKEN = re.compile(r"'(?:[^']|'')*'|:\w+|\w+|<>|<=|>=|\|\||[(),.=<>*+-]")


def tenant_tables() -> tuple[set[str], set[str]]:
    """Return the tables that hold a tenant's data, and all others, as the migrations make them."""
    with_tenant, without = set(), set()
    for path in sorted(PACKAGE.joinpath("migrations").iterdir(), key=lambda one: one.name):
        if not path.name.endswith(".sql"):
            continue
        text = re.sub(r"--.*", "", path.read_text(encoding="utf-8"))
        for is_virtual, name, body in re.findall(
            r"CREATE (VIRTUAL )?TABLE (\w+)\s*(?:USING fts5)?\s*\((.*?)\n\)", text, re.S
        ):
            has_tenant = bool(re.search(r"^\s*tenant TEXT NOT NULL", body, re.M)) or bool(is_virtual)
            (with_tenant if has_tenant else without).add(name)
    return with_tenant, without


@dataclass
class Select:
    """One level of a statement: its own words, and the selects within brackets."""

    tokens: list[str] = field(default_factory=list)
    inner: list["Select"] = field(default_factory=list)


def levels(tokens: list[str]) -> Select:
    """Return the tree of a statement's selects; a bracket that holds no SELECT stays part of its level."""
    root = Select()
    stack = [root]
    opened: list[bool] = []
    for at, token in enumerate(tokens):
        if token == "(":
            is_select = tokens[at + 1].lower() in ("select", "with")
            opened.append(is_select)
            if is_select:
                inner = Select()
                stack[-1].inner.append(inner)
                stack[-1].tokens.append("(")
                stack.append(inner)
                continue
        elif token == ")" and opened.pop():
            stack.pop()
        stack[-1].tokens.append(token)
    return root


def uses(select: Select) -> list[tuple[str, str]]:
    """Return table and alias of each table that a level names after FROM, JOIN, INTO or UPDATE."""
    found = []
    tokens = select.tokens
    for at, token in enumerate(tokens[:-1]):
        word = token.lower()
        if word in ("from", "join", "into") or (word == "update" and tokens[at + 1].lower() != "set"):
            table, after = tokens[at + 1], tokens[at + 2 : at + 4]
            if table in NAMES or table == "(":
                continue
            alias = table
            if after and after[0].lower() == "as":
                alias = after[1]
            elif after and after[0].isidentifier() and after[0].lower() not in KEYWORDS:
                alias = after[0]
            assert not (len(after) > 1 and after[-1] == "," and word == "from"), "write joins as JOIN, not as a list"
            found.append((table, alias))
    return found


def problems(statement: str, tables: set[str]) -> list[str]:
    """Return what is wrong with a statement: each use of a tenant's table without its tenant."""
    return problems_of(levels(TOKEN.findall(re.sub(r"--.*", "", statement))), tables)


def problems_of(select: Select, tables: set[str]) -> list[str]:
    """Return what is wrong with one level and those within it; UNION parts are looked at one by one."""
    wrong: list[str] = []
    for part in split_unions(select):
        named = uses(part)
        for table, alias in named:
            if table in tables:
                wrong += problem_of_use(part, table, alias, is_only=len(named) == 1)
    for inner in select.inner:
        wrong += problems_of(inner, tables)
    return wrong


def split_unions(select: Select) -> list[Select]:
    """Return the parts of a level around UNION."""
    parts, current = [], Select()
    for token in select.tokens:
        if token.lower() == "union":
            parts.append(current)
            current = Select()
        else:
            current.tokens.append(token)
    return [*parts, current]


def problem_of_use(part: Select, table: str, alias: str, *, is_only: bool) -> list[str]:
    """Return what is wrong with one use of a tenant's table in a level."""
    text = " ".join(part.tokens)
    lowered = text.lower()
    if table == "text_index":
        return text_index_problem(text, lowered)
    if lowered.startswith(("insert into", "insert or")):
        match = re.match(r"insert (?:or \w+ )?into (\w+) \( (.*?) \)", lowered)
        if match and match[1] == table:
            columns = match[2].split(" , ")
            values = re.search(r"(?:values \(|\) select) (.*)", lowered)
            given = values[1].split(" , ") if values else []
            if "tenant" not in columns or given[columns.index("tenant")] != ": tenant".replace(" ", ""):
                return [f"INSERT into {table} does not write :tenant"]
            return []
    names = [f"{alias} . tenant = :tenant"] + (["tenant = :tenant"] if is_only else [])
    # it must be a condition that always holds: after WHERE, ON or AND, and never beside an OR of its own level
    for name in names:
        for at in [match.start() for match in re.finditer(rf"(?:where|on|and) {re.escape(name)}(?= |$)", lowered)]:
            if not re.search(r"\bor\b", outer_of(lowered, at)):
                return []
    return [f"{table} as {alias} without tenant = :tenant"]


def outer_of(text: str, at: int) -> str:
    """Return the words of the clause at a place, brackets left out: to the next clause or join."""
    flat, depth = [], 0
    for token in text[at:].split():
        if token == ")":
            depth -= 1
            if depth < 0:
                break
        if depth == 0:
            if token in ("join", "cross", "left", "order", "group", "limit", "returning") and flat:
                break
            flat.append(token)
        if token == "(":
            depth += 1
    before = [word for word in text[:at].split() if word in ("where", "on", "or", "join")]
    while before and before[-1] == "or":
        flat.append(before.pop())
    return " ".join(flat)


def text_index_problem(text: str, lowered: str) -> list[str]:
    """Return what is wrong with a use of the full-text index: a query must bind an owner-checked match."""
    if lowered.startswith("insert into"):
        return [] if ":owner" in text else ["text_index is written without its owner"]
    return [] if "text_index MATCH :match" in text else ["text_index is read without :match"]


TABLES, SYSTEM_TABLES = tenant_tables()
STATEMENTS = {
    (file, name): text
    for file in QUERY_FILES
    for name, text in parse(PACKAGE.joinpath("queries", f"{file}.sql").read_text(encoding="utf-8")).items()
}


def test_the_migrations_tell_which_tables_are_a_tenants() -> None:
    assert {"cubes", "versions", "lineage", "tombstones", "usage", "journal", "scope_heads"} <= TABLES
    assert {"idempotency", "jobs", "vectors", "text_index"} <= TABLES
    assert sorted(SYSTEM_TABLES) == ["backups", "embedders"]


@pytest.mark.parametrize(("file", "name"), STATEMENTS, ids=lambda part: part)
def test_each_use_of_a_tenants_table_asks_for_the_tenant(file: str, name: str) -> None:
    found = problems(STATEMENTS[file, name], TABLES)
    if file == "system" and name in ALLOWED:
        assert found, f"{name} needs no exception: take it off the list"
        return
    assert found == []


def test_every_exception_is_a_system_statement() -> None:
    assert {("system", name) for name in ALLOWED} <= STATEMENTS.keys()


def test_statement_names_are_unique_over_all_files() -> None:
    names = [name for _, name in STATEMENTS]
    assert len(names) == len(set(names))


def test_every_query_file_is_known_and_every_statement_is_used() -> None:
    shipped = {path.name for path in PACKAGE.joinpath("queries").iterdir() if path.name.endswith(".sql")}
    assert shipped == {f"{file}.sql" for file in QUERY_FILES}


def test_no_statement_holds_a_value_in_quotes_that_a_caller_could_give() -> None:
    literals = {text for statement in STATEMENTS.values() for text in re.findall(r"'[^']*'", statement)}
    assert literals <= {
        *("'delete'", "'delete-all'", "'optimize'", "'integrity-check'", "'queued'", "'leased'", "'dead'", "''"),
        *("'erase'", "'bury'", "'reindex'", "'plaintext'", "'activation'", "'activated'", "'frozen'"),
        *("'scrub'", "'porter unicode61 remove_diacritics 2'"),
    }


@pytest.mark.parametrize(
    "bad",
    [
        "SELECT text FROM versions WHERE cube_id = :cube_id",
        "SELECT text FROM versions WHERE cube_id = :cube_id OR tenant = :tenant",
        "SELECT text FROM versions WHERE tenant = :tenant OR cube_id = :cube_id",
        "SELECT text FROM versions WHERE tenant = :cube_id",
        "SELECT v.text FROM cubes AS c JOIN versions AS v ON v.cube_id = c.cube_id WHERE c.tenant = :tenant",
        "SELECT v.text FROM cubes AS c JOIN versions AS v ON v.tenant = :tenant AND v.cube_id = c.cube_id",
        "SELECT v.vector FROM cubes AS c LEFT JOIN vectors AS v ON v.cube_key = c.cube_key WHERE c.tenant = :tenant",
        "SELECT 1 FROM cubes AS c WHERE c.tenant = :tenant AND c.cube_id IN (SELECT cube_id FROM tombstones)",
        "SELECT seq FROM versions WHERE tenant = :tenant UNION SELECT seq FROM tombstones WHERE cube_id = :cube_id",
        "DELETE FROM vectors WHERE cube_key = :cube_key",
        "UPDATE cubes SET state = :state WHERE cube_key = :cube_key",
        "UPDATE cubes SET tenant = :tenant WHERE cube_key = :cube_key",
        "INSERT INTO usage (cube_id, uses) VALUES (:cube_id, :uses)",
        "INSERT INTO usage (tenant, cube_id) VALUES (:user, :cube_id)",
        "SELECT rowid FROM text_index",
    ],
)
def test_a_statement_that_forgets_the_tenant_is_caught(bad: str) -> None:
    assert problems(bad, TABLES)


@pytest.mark.parametrize(
    "good",
    [
        "SELECT text FROM versions WHERE tenant = :tenant AND (cube_id = :a OR cube_id = :b)",
        "SELECT v.text FROM cubes AS c JOIN versions AS v ON v.tenant = :tenant AND v.x = c.x WHERE c.tenant = :tenant",
        "DELETE FROM vectors WHERE tenant = :tenant AND cube_key = :cube_key",
        "SELECT fingerprint FROM embedders",
    ],
)
def test_a_statement_that_asks_for_the_tenant_passes(good: str) -> None:
    assert problems(good, TABLES) == []
