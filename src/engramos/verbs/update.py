"""update: a further version of a cube."""

from dataclasses import dataclass, replace
from datetime import datetime

from engramos.changes import Update, Write
from engramos.clock import now
from engramos.cube import Grant, MemCube, PlaintextPayload
from engramos.errors import InvalidInputError, UnsupportedError, VersionConflictError
from engramos.lifecycle import revise
from engramos.messages import check_labels, check_text, check_time, check_trust
from engramos.scope import Scope, check_name
from engramos.vault.sqlite.records import is_searched
from engramos.verbs.parts import Parts, with_entries


@dataclass(frozen=True, slots=True)
class Revision:
    """What is to be different in the further version; None leaves it.

    Raises:
        InvalidInputError: if a value does not fit, or all are None.
    """

    text: str | None = None
    speaker: str | None = None
    labels: tuple[str, ...] | None = None
    valid_at: datetime | None = None
    invalid_at: datetime | None = None
    trust: float | None = None
    grants: tuple[Grant, ...] | None = None
    is_held: bool | None = None
    """Put under, or freed from, a legal hold."""

    def __post_init__(self) -> None:
        if all(getattr(self, name) is None for name in self.__dataclass_fields__):
            raise InvalidInputError("nothing is to be different: give a text or another field")
        if self.text is not None:
            check_text("the text", self.text)
        for what in ("valid_at", "invalid_at"):
            if (at := getattr(self, what)) is not None:
                object.__setattr__(self, what, check_time(what, at))
        if self.speaker is not None:
            check_name("speaker", self.speaker)
        if self.labels is not None:
            object.__setattr__(self, "labels", check_labels(self.labels))
        if self.trust is not None:
            object.__setattr__(self, "trust", check_trust(self.trust))
        if self.is_held is not None and not isinstance(self.is_held, bool):
            raise InvalidInputError(f"is_held is {self.is_held!r}: give True or False")
        for grant in self.grants or ():
            if not isinstance(grant, Grant):
                raise InvalidInputError(f"grant is {grant!r}: give Grant(user, right)")
            check_name("user of a grant", grant.user)


def update(
    parts: Parts,
    cube_id: str,
    scope: Scope,
    revision: Revision,
    *,
    expected_version: int | None = None,
    force: bool = False,
    dry_run: bool = False,
) -> MemCube:
    """Write and return a further version; the versions before stay readable.

    Args:
        parts: of the open memory.
        cube_id: which cube.
        scope: whose.
        revision: what is different.
        expected_version: the version that the caller read.
        force: go on from whatever version is the newest; needed where no expected version is given.
        dry_run: check everything and store nothing.

    Raises:
        CubeNotFoundError: if there is none, or the scope may not know of it.
        AccessDeniedError: if the scope may not write it.
        VersionConflictError: if it moved on, or neither expected_version nor force was given.
        FrozenError, IllegalTransitionError: if its state forbids change.
        UnsupportedError: if it is no plaintext cube and a text is given.
    """
    while True:
        cube = parts.read(scope, cube_id, "write")
        if cube.version != expected_version and not (expected_version is None and force):
            raise VersionConflictError(cube_id, expected_version, cube.version)
        newer = _revised(cube, scope, revision)
        changes: list[Write] = [Update(newer)]
        if is_searched(newer):
            changes = with_entries(parts, Update, [newer])
        try:
            parts.commit(changes, scope, reason="update", dry_run=dry_run)
        except VersionConflictError:
            if expected_version is None:
                continue
            raise
        return newer


def _revised(cube: MemCube, scope: Scope, revision: Revision) -> MemCube:
    payload = cube.payload
    if not isinstance(payload, PlaintextPayload):
        if revision.text is not None or revision.speaker is not None:
            raise UnsupportedError(f"cube {cube.id!r} is of form {cube.header.form}: only plaintext has a text")
    else:
        text = payload.text if revision.text is None else revision.text
        payload = replace(payload, text=text, speaker=revision.speaker or payload.speaker)
    names = ("labels", "valid_at", "invalid_at", "trust", "grants")
    header = {name: value for name in names if (value := getattr(revision, name)) is not None}
    if revision.is_held is not None:
        header["retention"] = replace(cube.header.retention, is_held=revision.is_held)
    return revise(cube, now(), actor=scope.user, payload=payload, method="update", **header)
