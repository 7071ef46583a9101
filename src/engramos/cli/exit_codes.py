"""Exit codes: what a script can tell from how a command ended."""

from engramos.errors import (
    AccessDeniedError,
    ConfigError,
    ContextLengthError,
    CubeNotFoundError,
    EmbedderMismatchError,
    EngramosError,
    FrozenError,
    IdempotencyConflictError,
    IllegalTransitionError,
    InvalidInputError,
    ModelMismatchError,
    QuotaExceededError,
    UnknownMethodError,
    UnsupportedError,
    VersionConflictError,
)

OK, ERROR, USAGE, NOT_FOUND, CONFLICT, DENIED = range(6)
INTERRUPTED = 130
"""128 and the number of SIGINT, as shells have it."""

OF_CLASS: dict[type[EngramosError], int] = {
    EngramosError: ERROR,
    ConfigError: USAGE,
    UnknownMethodError: USAGE,
    InvalidInputError: USAGE,
    ContextLengthError: USAGE,
    UnsupportedError: USAGE,
    CubeNotFoundError: NOT_FOUND,
    VersionConflictError: CONFLICT,
    IdempotencyConflictError: CONFLICT,
    IllegalTransitionError: CONFLICT,
    FrozenError: CONFLICT,
    EmbedderMismatchError: CONFLICT,
    ModelMismatchError: CONFLICT,
    AccessDeniedError: DENIED,
    QuotaExceededError: DENIED,
}
"""A class that is not here has the code of its nearest base."""


def exit_code(error: type[EngramosError]) -> int:
    """Return the exit code of a class of errors."""
    return next(OF_CLASS[base] for base in error.__mro__ if base in OF_CLASS)
