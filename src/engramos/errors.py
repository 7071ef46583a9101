"""The one tree of errors.

    EngramosError
    ├── RequestError                 the caller can fix it; never retried
    │   ├── ConfigError (ValueError)
    │   ├── UnknownMethodError (LookupError)
    │   ├── MissingExtraError (ImportError)
    │   ├── InvalidInputError (ValueError)
    │   ├── CubeNotFoundError
    │   ├── VersionConflictError
    │   ├── IdempotencyConflictError
    │   ├── IllegalTransitionError
    │   ├── FrozenError
    │   ├── AccessDeniedError
    │   ├── QuotaExceededError
    │   ├── EmbedderMismatchError
    │   ├── UnsupportedError
    │   ├── ModelMismatchError
    │   ├── ContextLengthError
    │   └── ImportFailedError
    ├── EdgeError                    an outside part failed; a retry may help; __cause__ kept
    │   ├── StoreError
    │   │   ├── ForeignStoreError
    │   │   └── NewerSchemaError
    │   ├── BlobError
    │   ├── ModelError
    │   │   ├── ModelTimeoutError
    │   │   └── ModelRateLimitError
    │   ├── ArchiveError
    │   └── CorruptPayloadError
    └── JobError
        └── JobFailedError

A message says what went wrong, with which thing, and what to do next.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class EngramosError(Exception):
    """Something went wrong in engramos."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class RequestError(EngramosError):
    """The request cannot be served as it was asked."""


class ConfigError(RequestError, ValueError):
    """A setting or a method's parameter has a value that it cannot have."""


class UnknownMethodError(RequestError, LookupError):
    """No method of this name fills the role."""

    def __init__(self, role: str, name: str, known: tuple[str, ...]) -> None:
        self.role, self.name, self.known = role, name, known
        super().__init__(f"no method {name!r} in role {role!r}; choose one of: {', '.join(known) or 'none'}")


class MissingExtraError(RequestError, ImportError):
    """A method needs a package that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        self.extra = extra
        EngramosError.__init__(self, f"{what} is not installed: run pip install 'engramos[{extra}]'")


class InvalidInputError(RequestError, ValueError):
    """A value given to a verb cannot be stored or searched."""


class CubeNotFoundError(RequestError):
    """No cube of this id is visible in this scope."""

    def __init__(self, cube_id: str, version: int | None = None) -> None:
        self.cube_id, self.version = cube_id, version
        which = f"cube {cube_id!r}" if version is None else f"version {version} of cube {cube_id!r}"
        super().__init__(f"{which} is not in this scope; 'engramos list' shows the cubes that are")


class VersionConflictError(RequestError):
    """The cube changed since the caller read it."""

    def __init__(self, cube_id: str, expected: int | None, found: int) -> None:
        self.cube_id, self.expected, self.found = cube_id, expected, found
        seen = "no expected version was given" if expected is None else f"version {expected} was expected"
        super().__init__(
            f"cube {cube_id!r} is at version {found} and {seen}: read it again and pass expected_version={found}"
        )


class IdempotencyConflictError(RequestError):
    """The idempotency key was used before with another request."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"idempotency key {key!r} was used with another request: use a new key for new content")


class IllegalTransitionError(RequestError):
    """The lifecycle has no such move."""

    def __init__(self, cube_id: str, state: str, wanted: str) -> None:
        self.cube_id, self.state, self.wanted = cube_id, state, wanted
        super().__init__(f"cube {cube_id!r} is {state} and cannot become {wanted}; see docs/concepts/lifecycle.md")


class FrozenError(RequestError):
    """A frozen cube forbids change."""

    def __init__(self, cube_id: str) -> None:
        self.cube_id = cube_id
        super().__init__(f"cube {cube_id!r} is frozen: restore it first, then change it")


class AccessDeniedError(RequestError):
    """The scope has no right to do this."""

    def __init__(self, right: str, what: str) -> None:
        self.right = right
        super().__init__(f"no right to {right} {what}: ask its owner for a grant, or end the legal hold")


class QuotaExceededError(RequestError):
    """A limit on size or number was passed."""

    def __init__(self, quota: str, limit: int, used: int) -> None:
        self.quota, self.limit, self.used = quota, limit, used
        super().__init__(f"{quota} is {used} and may be at most {limit}: send less, or split it")


class EmbedderMismatchError(RequestError):
    """The memory's vectors were made by another embedder."""

    def __init__(self, stored: str, wanted: str) -> None:
        self.stored, self.wanted = stored, wanted
        super().__init__(
            f"this memory's vectors were made by {stored} and the settings ask for {wanted}: "
            f"run 'engramos reembed' to make them anew, or set the embedder back"
        )


class UnsupportedError(RequestError):
    """The method cannot do this."""


class ModelMismatchError(RequestError):
    """A KV cube was made for another model."""

    def __init__(self, what: str, differing: tuple[str, ...]) -> None:
        self.what, self.differing = what, differing
        super().__init__(
            f"{what} was made for a model with another {' and '.join(differing)}: build it anew with this model"
        )


class ContextLengthError(RequestError):
    """The input does not fit the model's window."""

    def __init__(self, num_tokens: int, limit: int) -> None:
        self.num_tokens, self.limit = num_tokens, limit
        super().__init__(
            f"the input has {num_tokens} tokens and the model reads {limit}: "
            f"shorten it, or stream it with a compact cache or a recall method"
        )


class ImportFailedError(RequestError):
    """A file could not be imported."""

    def __init__(self, path: str, position: str, problem: str) -> None:
        self.path, self.position, self.problem = path, position, problem
        super().__init__(f"{path}: {position}: {problem}")


class EdgeError(EngramosError):
    """A part outside engramos failed."""


class StoreError(EdgeError):
    """The database refused or failed."""


class ForeignStoreError(StoreError):
    """The folder or file is no memory of engramos, or it is damaged."""


class NewerSchemaError(StoreError):
    """The memory was written by a newer engramos."""


class BlobError(EdgeError):
    """The blob store refused or failed."""


class ModelError(EdgeError):
    """A model failed."""


class ModelTimeoutError(ModelError):
    """A model did not answer in time."""


class ModelRateLimitError(ModelError):
    """A model's server asks to wait."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class ArchiveError(EdgeError):
    """An archive is damaged, hostile, or of another format."""


class CorruptPayloadError(EdgeError):
    """Stored bytes are not the bytes that were stored."""

    def __init__(self, what: str, digest: str, found: str, next_step: str = "") -> None:
        self.what, self.digest, self.found = what, digest, found
        step = next_step or "run 'engramos verify --repair --repair-from BACKUP' to bring it back from a backup"
        super().__init__(f"{what} is damaged (digest {digest[:12]}, found {found[:12]}): {step}")


class JobError(EngramosError):
    """A job could not be queued or run."""


class JobFailedError(JobError):
    """A job failed at its last attempt."""


@contextmanager
def translate(
    table: Mapping[type[Exception], type[EngramosError]], what: str, *, next_step: str = ""
) -> Iterator[None]:
    """Turn a library's errors into ours, once, at the edge; the original is kept as `__cause__`.

    Args:
        table: the library's class -> our class; the first match in its order wins.
        what: what was being done, for the message ("reading cube ...").
        next_step: what the reader should do next.

    Source: ours; the idea is httpcore's map_exceptions.
    """
    try:
        yield
    except EngramosError:
        raise
    except tuple(table) as error:
        ours = next(ours for theirs, ours in table.items() if isinstance(error, theirs))
        message = f"{what} failed: {error}" + (f"; {next_step}" if next_step else "")
        raise ours(message) from error
