"""Cubes for the tests of reconcilers: one a text, a day apart."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from engramos.cube import CubeType, Form, Header, MemCube, PlaintextPayload
from engramos.lifecycle import revise
from engramos.plaintext.reconcilers import ROLE
from engramos.plaintext.reconcilers.base import Reconciled
from engramos.scope import Scope

START = datetime(2024, 1, 1, tzinfo=UTC)
NOW = datetime(2025, 1, 1, tzinfo=UTC)


def cube(number: int, text: str, speaker: str | None = "Ana", *, day: int | None = None, **header: Any) -> MemCube:
    """Return a cube that became true on a day counted from the start."""
    at = START + timedelta(days=number if day is None else day)
    fields = {"valid_at": at, "type": CubeType.EPISODE} | header
    title = fields.pop("title", None)
    made = Header(
        cube_id=f"{number:06d}", version=1, form=Form.PLAINTEXT, scope=Scope("t", "u"), created_at=at, **fields
    )
    return MemCube(made, PlaintextPayload(text, speaker=speaker, title=title))


def cubes(*texts: str) -> list[MemCube]:
    """Return cubes of one speaker, a day apart."""
    return [cube(number, text) for number, text in enumerate(texts)]


def run(method: str, given: Sequence[MemCube], **parameters: Any) -> Reconciled:
    """Return what a reconciler decides."""
    return ROLE.make(method, **parameters).reconcile(given, NOW, partial(revise, at=NOW, actor="u", method=method))


def superseded(method: str, given: Sequence[MemCube], **parameters: Any) -> dict[int, int]:
    """Return which cube's number is superseded by which."""
    return {int(one.cube_id): int(one.by_id) for one in run(method, given, **parameters).verdicts}
