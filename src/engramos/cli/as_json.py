"""What a machine reads: the JSON of cubes and journal rows, with keys that stay."""

from typing import TYPE_CHECKING, Any

from engramos.cli.output import iso

if TYPE_CHECKING:
    from engramos.cube import MemCube
    from engramos.rows import JournalRow


def cube_json(cube: "MemCube") -> dict[str, Any]:
    """Return a cube as JSON values; times are ISO 8601 in UTC, what is not known is null."""
    header, payload = cube.header, cube.payload
    return {
        "id": cube.id,
        "version": cube.version,
        "form": header.form.value,
        "type": header.type.value,
        "state": header.state.value,
        "text": cube.text,
        # activation and parametric cubes have none of these
        **{name: getattr(payload, name, None) for name in ("role", "speaker", "title", "position")},
        "tenant": header.scope.tenant,
        "user": header.scope.user,
        "agent": header.scope.agent,
        "session": header.scope.session,
        "created_at": iso(header.created_at),
        "expired_at": iso(header.expired_at),
        "valid_at": iso(header.valid_at),
        "invalid_at": iso(header.invalid_at),
        "source": {"origin": header.source.origin, "ref": header.source.ref},
        "trust": header.trust,
        "labels": list(header.labels),
        "parents": [
            {"relation": edge.relation.value, "id": edge.cube_id, "version": edge.version} for edge in header.parents
        ],
        "grants": [{"user": grant.user, "right": grant.right} for grant in header.grants],
        "retention": {"expires_at": iso(header.retention.expires_at), "is_held": header.retention.is_held},
        "method": header.method,
        "model": header.model,
        "actor": header.actor,
        "digest": cube.digest,
    }


def journal_json(row: "JournalRow") -> dict[str, Any]:
    """Return a journal row as JSON values."""
    return {
        "seq": row.seq,
        "at": iso(row.at),
        "change": row.kind,
        "id": row.cube_id,
        "version": row.version,
        "actor": row.actor,
        "reason": row.reason,
        "request_id": row.request_id,
        "hash": row.hash.hex(),
    }
