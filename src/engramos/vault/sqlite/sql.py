"""The named statements of the .sql files in this package."""

from functools import cache
from importlib.resources import files

QUERY_FILES = ("cubes", "journal", "index", "jobs", "text", "system", "verify")


def parse(text: str) -> dict[str, str]:
    """Return the statements of a file by the name in the `-- name:` line above each."""
    statements: dict[str, str] = {}
    for part in text.split("-- name: ")[1:]:
        name, _, body = part.partition("\n")
        statements[name.strip()] = body.strip()
    return statements


@cache
def statements(file: str) -> dict[str, str]:
    """Return the statements of one of `QUERY_FILES`, by name."""
    return parse(files(__package__).joinpath("queries", f"{file}.sql").read_text(encoding="utf-8"))


@cache
def sql(name: str) -> str:
    """Return one statement by its name, which is unique over all files."""
    return next(statements(file)[name] for file in QUERY_FILES if name in statements(file))
