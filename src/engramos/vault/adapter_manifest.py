"""What an exported adapter says of itself beside its tensors: `memory.json`. Never a text of a memory."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engramos.cube import Edge, Relation, nothing
from engramos.errors import ArchiveError, CorruptPayloadError, InvalidInputError, translate
from engramos.vault.bounded_json import decode_object

FORMAT = 1
NAME = "memory.json"
MAX_BYTES = 16 * 2**20
MAX_TEXT = 1_000
"""Characters of an id, a name or a value of the fingerprint."""
_FIELDS = {"format", "id", "adapter", "base", "writer", "parameters", "lineage", "probes", "files"}
_ADAPTER_FIELDS = {"kind", "digest", "settings"}


@dataclass(frozen=True, slots=True)
class AdapterManifest:
    """From what, by what and for which base model an adapter was made, and what its probes have found."""

    id: str
    """Of its cube."""
    fingerprint: Mapping[str, str] = field(default_factory=nothing)
    """Of the base model."""
    writer: str = ""
    """The method that wrote it."""
    parameters: Mapping[str, Any] = field(default_factory=nothing)
    """Of the writer: JSON values."""
    lineage: tuple[Edge, ...] = ()
    """The exact versions of cubes that it was made of."""
    probes: Mapping[str, float] = field(default_factory=nothing)
    """Results by name."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a manifest says of the folder that it lies in."""

    kind: str
    digest: str
    """`Adapter.digest`."""
    settings: Mapping[str, Any]
    """`Adapter.settings`; so a scale comes back to the last bit."""
    files: Mapping[str, str]
    """SHA-256 of each other file, in hexadecimal."""


def manifest_bytes(manifest: AdapterManifest, contents: Contents) -> bytes:
    """Return a manifest as JSON; equal ones give equal bytes.

    Raises:
        InvalidInputError: if it holds what JSON cannot, or what `read_manifest` would refuse.
    """
    table = {
        "format": FORMAT,
        "id": manifest.id,
        "adapter": {"kind": contents.kind, "digest": contents.digest, "settings": contents.settings},
        "base": dict(manifest.fingerprint),
        "writer": manifest.writer,
        "parameters": dict(manifest.parameters),
        "lineage": [[str(edge.relation), edge.cube_id, edge.version] for edge in manifest.lineage],
        "probes": dict(manifest.probes),
        "files": dict(contents.files),
    }
    what = f"writing the manifest of adapter {str(manifest.id)[:80]!r}"
    with translate({TypeError: InvalidInputError, ValueError: InvalidInputError}, what):
        data = json.dumps(table, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"
    try:
        read_manifest(data)
    except ArchiveError as error:
        raise InvalidInputError(f"{what} failed: it could not be read again ({error})") from error
    return data


def read_manifest(data: bytes) -> tuple[AdapterManifest, Contents]:
    """Return a manifest.

    Raises:
        ArchiveError: if it is none, or a field is missing, unknown or of a wrong type.
    """
    if len(data) > MAX_BYTES:
        raise _refusal(f"it has {len(data)} bytes and may have {MAX_BYTES}")
    table = decode_object(data, NAME, has_unique_keys=True)
    if table.get("format") != FORMAT:
        raise _refusal(f"its format is not {FORMAT}")
    _require(table.keys() == _FIELDS, f"its fields are not {', '.join(sorted(_FIELDS))}")
    adapter = table["adapter"]
    _require(isinstance(adapter, dict) and adapter.keys() == _ADAPTER_FIELDS, "adapter is no object of its fields")
    _require(all(isinstance(table[name], str) for name in ("id", "writer")), "id or writer is no text")
    _require(0 < len(table["id"]) <= MAX_TEXT and len(table["writer"]) <= MAX_TEXT, "id or writer is too long, or none")
    _require(all(isinstance(adapter[name], str) for name in ("kind", "digest")), "kind or digest is no text")
    _require(isinstance(adapter["settings"], dict), "settings are no object")
    _require(isinstance(table["parameters"], dict), "parameters are no object")
    manifest = AdapterManifest(
        id=table["id"],
        fingerprint=_texts(table["base"], "base"),
        writer=table["writer"],
        parameters=table["parameters"],
        lineage=_lineage(table["lineage"]),
        probes=_probes(table["probes"]),
    )
    return manifest, Contents(adapter["kind"], adapter["digest"], adapter["settings"], _texts(table["files"], "files"))


def check_files(contents: Contents, files: Mapping[str, bytes]) -> None:
    """Refuse files that are not those that a manifest names.

    Raises:
        ArchiveError: if it names other files.
        CorruptPayloadError: if the bytes of one have another digest.
    """
    _require(contents.files.keys() == files.keys(), f"its files are not {', '.join(sorted(files))}")
    for name, data in files.items():
        found = hashlib.sha256(data).hexdigest()
        if found != contents.files[name]:
            raise CorruptPayloadError(name, contents.files[name], found, "export the adapter again")


def _lineage(rows: object) -> tuple[Edge, ...]:
    _require(isinstance(rows, list), "lineage is no list")
    edges = []
    for row in rows:
        is_sound = isinstance(row, list) and len(row) == 3 and type(row[2]) is int and 1 <= row[2] < 2**63
        is_sound = is_sound and isinstance(row[1], str) and 0 < len(row[1]) <= MAX_TEXT
        _require(is_sound and row[0] in list(Relation), "a row of its lineage is no relation, cube id and version")
        edges.append(Edge(Relation(row[0]), row[1], row[2]))
    return tuple(edges)


def _probes(table: object) -> dict[str, float]:
    is_sound = isinstance(table, dict) and all(type(one) in (int, float) for one in table.values())
    # an integer of a thousand digits is no float
    _require(is_sound and all(abs(one) < 1e300 for one in table.values()), "a probe is no number")
    return {name: float(one) for name, one in table.items()}


def _texts(table: object, name: str) -> dict[str, str]:
    is_sound = isinstance(table, dict) and all(isinstance(one, str) and len(one) <= MAX_TEXT for one in table.values())
    _require(is_sound, f"{name} is no object of short texts")
    return dict(table)


def _require(is_sound: bool, problem: str) -> None:
    if not is_sound:
        raise _refusal(problem)


def _refusal(problem: str) -> ArchiveError:
    return ArchiveError(f"{NAME} is damaged or hostile: {problem}; export the adapter again")
