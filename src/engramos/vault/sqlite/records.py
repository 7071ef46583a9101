"""Between cubes and the rows of the tables."""

import hashlib
import os
import zlib
from collections.abc import Sequence
from typing import Any

from engramos.changes import IndexEntry
from engramos.clock import to_us
from engramos.cube import (
    Form,
    MemCube,
    PlaintextPayload,
    State,
    encode,
    header_from_json,
    header_to_json,
    payload_from_json,
    payload_to_json,
)
from engramos.errors import CorruptPayloadError

SEARCHED_STATES = (State.ACTIVATED, State.FROZEN)


def is_searched(cube: MemCube) -> bool:
    """Return whether a cube in this state and form stands in the search index."""
    return cube.header.form is Form.PLAINTEXT and cube.header.state in SEARCHED_STATES


def cube_row(cube: MemCube, cube_key: int, terms: bytes | None) -> dict[str, Any]:
    """Return the row of table `cubes`: what is filtered by, as the newest version has it."""
    header, payload = cube.header, cube.payload
    is_plaintext = isinstance(payload, PlaintextPayload)
    # a legal hold wins over a retention that has ended: what is held is kept, and shown, until the hold is lifted
    expires_at = None if header.retention.is_held else header.retention.expires_at
    return {
        "tenant": header.scope.tenant,
        "user": header.scope.user,
        "cube_id": header.cube_id,
        "agent": header.scope.agent,
        "session": header.scope.session,
        "form": header.form.value,
        "type": header.type.value,
        "state": header.state.value,
        "version": header.version,
        "created_us": to_us(header.created_at),
        "valid_us": None if header.valid_at is None else to_us(header.valid_at),
        "invalid_us": None if header.invalid_at is None else to_us(header.invalid_at),
        "expires_us": None if expires_at is None else to_us(expires_at),
        "is_held": int(header.retention.is_held),
        "trust": float(header.trust),
        "speaker": payload.speaker if is_plaintext else None,
        "position": payload.position if is_plaintext else None,
        "labels": f"|{'|'.join(header.labels)}|" if header.labels else "",
        "source_ref": header.source.ref,
        "cube_key": cube_key,
        "terms": terms,
        "checksum": None if terms is None else zlib.crc32(terms),
    }


def version_row(cube: MemCube, cube_key: int) -> dict[str, Any]:
    """Return the row of table `versions`, with the digest of all that it holds and a fresh salt."""
    header, payload = header_to_json(cube.header), payload_to_json(cube.payload)
    text = cube.payload.text if isinstance(cube.payload, PlaintextPayload) else None
    return {
        "tenant": cube.header.scope.tenant,
        "cube_id": cube.header.cube_id,
        "version": cube.header.version,
        "cube_key": cube_key,
        "created_us": to_us(cube.header.created_at),
        "header": header,
        "payload": payload,
        "text": text,
        "digest": digest_of(header, payload, text),
        "blob": cube.blob,
        "salt": os.urandom(16),
    }


def digest_of(header: str, payload: str, text: str | None) -> str:
    """Return the SHA-256 over header, payload and text as they are stored."""
    state = hashlib.sha256(header.encode())
    state.update(b"\0" + payload.encode() + b"\0")
    state.update(b"" if text is None else text.encode())
    return state.hexdigest()


def read_cube(row: Sequence[Any], which: str) -> MemCube:
    """Return the cube of a row `header, payload, text, digest`.

    Raises:
        CorruptPayloadError: if the row is not what was written.
    """
    header, payload, text, digest = row
    is_whole = isinstance(header, str) and isinstance(payload, str) and isinstance(text, str | None)
    found = None if is_whole else "unreadable"
    if found is None and (found := digest_of(header, payload, text)) == digest:
        parsed = header_from_json(header)
        return MemCube(parsed, payload_from_json(parsed.form, payload, text))
    raise CorruptPayloadError(which, str(digest), found)


def seal_of(salt: bytes, digest: str) -> bytes:
    """Return what the journal keeps of a version: it proves the row, and says nothing once the salt is erased."""
    return hashlib.sha256(salt + digest.encode()).digest()


def tombstone_seal(cube_id: str, erased_us: int, num_versions: int) -> bytes:
    """Return what the journal keeps of a tombstone that came out of an archive."""
    return hashlib.sha256(encode([cube_id, erased_us, num_versions]).encode()).digest()


def vector_row(cube_key: int, tenant: str, embedder_key: int, entry: IndexEntry) -> dict[str, Any]:
    """Return the row of table `vectors` for an entry that has a vector."""
    vector = entry.vector or b""
    return {
        "embedder_key": embedder_key,
        "cube_key": cube_key,
        "tenant": tenant,
        "vector": vector,
        "checksum": zlib.crc32(vector),
    }


def is_sound_vector(vector: Any, checksum: Any) -> bool:
    """Return whether a stored vector has the bytes of its checksum."""
    return isinstance(vector, bytes) and zlib.crc32(vector) == checksum


def owner_token(tenant: str, user: str) -> str:
    """Return the one token that stands for tenant and user in the full-text index."""
    return "o" + hashlib.blake2b(f"{tenant}\0{user}".encode(), digest_size=12).hexdigest()
