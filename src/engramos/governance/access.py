"""Access: the owner may all; others what a grant says; tenants never meet."""

from datetime import datetime

from engramos.cube import Header
from engramos.errors import AccessDeniedError, CubeNotFoundError
from engramos.scope import Scope


def may(header: Header, scope: Scope, right: str) -> bool:
    """Return whether `scope` has a right, `read` or `write`, on a cube."""
    if header.scope.tenant != scope.tenant:
        return False
    if header.scope.user == scope.user:
        return True
    given = {grant.right for grant in header.grants if grant.user == scope.user}
    return right in given or (right == "read" and "write" in given)


def is_over(header: Header, now: datetime) -> bool:
    """Return whether a cube's retention has ended; while a legal hold lasts, it has not."""
    retention = header.retention
    return not retention.is_held and retention.expires_at is not None and retention.expires_at <= now


def check(header: Header | None, cube_id: str, scope: Scope, right: str, now: datetime) -> Header:
    """Return the header if the scope has the right.

    Raises:
        CubeNotFoundError: if there is no cube, its retention has ended, or the scope may not even know of it: the
            three look the same.
        AccessDeniedError: if the scope may read it but lacks the right.
    """
    if header is None or is_over(header, now) or not may(header, scope, "read"):
        raise CubeNotFoundError(cube_id)
    if not may(header, scope, right):
        raise AccessDeniedError(right, f"cube {cube_id!r}")
    return header


def derived_trust(parents: list[Header]) -> float:
    """Return the trust of what derives from `parents`: the least of theirs.

    Source: ours, decision 0002; promise P22.
    """
    return min((header.trust for header in parents), default=1.0)
