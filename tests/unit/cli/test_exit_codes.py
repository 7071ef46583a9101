"""Every error of the package has an exit code."""

import pytest

from engramos import errors
from engramos.cli.exit_codes import OF_CLASS, exit_code


def leaves(of: type) -> list[type]:
    """Return the classes below a class that have none below themselves."""
    below = of.__subclasses__()
    return [leaf for one in below for leaf in leaves(one)] if below else [of]


LEAVES = [leaf for leaf in leaves(errors.EngramosError) if leaf.__module__ == "engramos.errors"]
CODES = {
    "ConfigError": 2,
    "UnknownMethodError": 2,
    "InvalidInputError": 2,
    "UnsupportedError": 2,
    "ContextLengthError": 2,
    "CubeNotFoundError": 3,
    "VersionConflictError": 4,
    "IdempotencyConflictError": 4,
    "IllegalTransitionError": 4,
    "FrozenError": 4,
    "EmbedderMismatchError": 4,
    "ModelMismatchError": 4,
    "AccessDeniedError": 5,
    "QuotaExceededError": 5,
}
"""As they are documented; every other error is 1."""


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_every_leaf_has_the_code_that_is_documented(leaf: type[errors.EngramosError]) -> None:
    assert exit_code(leaf) == CODES.get(leaf.__name__, 1)


def test_the_table_holds_what_is_documented_and_nothing_else() -> None:
    assert {one.__name__ for one in OF_CLASS} == {*CODES, "EngramosError"}
