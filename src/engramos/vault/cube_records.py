"""Cubes as records of an archive, and back: an archive is never trusted."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from engramos.clock import from_us, is_id
from engramos.cube import (
    Form,
    Header,
    MemCube,
    encode,
    header_from_json,
    header_to_json,
    payload_from_json,
    payload_to_json,
)
from engramos.errors import InvalidInputError, RequestError
from engramos.messages import MAX_TEXT_BYTES, check_labels, check_role, check_text, check_trust
from engramos.scope import check_name

MAX_NUMBER = 2**53
_DIGEST_LETTERS = frozenset("0123456789abcdef")
_UNREADABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError)


def cube_record(header: str, payload: str, text: str | None) -> dict[str, Any]:
    """Return a version as it is stored as a record."""
    return {"header": json.loads(header), "payload": json.loads(payload), "text": text}


def cube_from_record(record: Mapping[str, Any]) -> MemCube:
    """Return the version that a record holds, with everything in it checked.

    Each value has its type and range, no key is unknown, and writing the cube again gives the same record.

    Raises:
        InvalidInputError: if it is no version that this engramos could have written.
    """
    try:
        _keys("the record", record, {"header", "payload", "text"})
        header, payload, text = record["header"], record["payload"], record["text"]
        _check_header(header)
        form = Form(header["form"])
        _check_payload(form, payload)
        if form is Form.PLAINTEXT:
            check_text("text", text, MAX_TEXT_BYTES)
        elif text is not None:
            raise InvalidInputError("only plaintext has a text")
        stored = (encode(header), encode(payload))
        parsed = header_from_json(stored[0])
        _check_names(parsed)
        cube = MemCube(parsed, payload_from_json(form, stored[1], text))
        if (header_to_json(cube.header), payload_to_json(cube.payload)) != stored:
            raise InvalidInputError("it is not written as engramos writes a version")
        for part in stored:
            part.encode()
    except RequestError as error:
        raise InvalidInputError(str(error)) from error
    except _UNREADABLE as error:
        raise InvalidInputError(f"it is no version of a cube ({type(error).__name__}: {str(error)[:200]})") from error
    return cube


def check_number(what: str, value: object, least: int = 0) -> int:
    """Return `value` if it is a whole number from `least` up to 2^53.

    Raises:
        InvalidInputError: if it is none.
    """
    if type(value) is not int or not least <= value <= MAX_NUMBER:
        raise InvalidInputError(f"{what} is {_shown(value)}: a whole number from {least} is needed")
    return value


def check_us(what: str, value: object) -> int:
    """Return `value` if it is a time in microseconds since 1970, in the years 1 to 9999.

    Raises:
        InvalidInputError: if it is none.
    """
    if type(value) is not int:
        raise InvalidInputError(f"{what} is {_shown(value)}: a time in microseconds is needed")
    try:
        from_us(value)
    except OverflowError as error:
        raise InvalidInputError(f"{what} is {value}: outside the years 1 to 9999") from error
    return value


def check_cube_id(value: object) -> str:
    """Return `value` if it is an id as engramos makes them.

    Raises:
        InvalidInputError: if it is none.
    """
    if not isinstance(value, str) or not is_id(value):
        raise InvalidInputError(f"id is {_shown(value)}: 26 small letters and digits are needed")
    return value


def _shown(value: object) -> str:
    return repr(value)[:80]


def _keys(what: str, table: object, needed: set[str], allowed: frozenset[str] = frozenset()) -> None:
    if not isinstance(table, dict) or not needed <= table.keys() <= needed | allowed:
        raise InvalidInputError(f"{what} does not have the keys of a version")


def _check_header(header: Any) -> None:
    needed = {"id", "v", "form", "type", "scope", "state", "method", "actor", "source", "created_at"}
    optional = {"expired_at", "valid_at", "invalid_at", "parents", "parameters", "model", "trust", "grants", "labels"}
    _keys("the header", header, needed, frozenset(optional | {"retention"}))
    check_cube_id(header["id"])
    check_number("version", header["v"], 1)
    for name in ("created_at", "expired_at", "valid_at", "invalid_at"):
        if name in header:
            check_us(name, header[name])
    for name in ("form", "type", "state", "method", "actor", "model"):
        if name in header:
            _text(name, header[name])
    _list("scope", header["scope"], 4, 4)
    for part in _list("source", header["source"], 2, 2):
        _text("source", part)
    check_trust(header.get("trust", 1.0))
    if not isinstance(header.get("parameters", {}), dict):
        raise InvalidInputError("parameters are no object")
    for relation, cube_id, version in _rows(header, "parents", 3):
        _text("relation", relation)
        check_cube_id(cube_id)
        check_number("version of a parent", version, 1)
    for user, right in _rows(header, "grants", 2):
        check_name("user of a grant", user)
        _text("right of a grant", right)
    check_labels(_list("labels", header.get("labels", []), 0, 10_000))
    if "retention" in header:
        expires_us, is_held = _list("retention", header["retention"], 2, 2)
        if expires_us is not None:
            check_us("expires_at", expires_us)
        if type(is_held) is not bool:
            raise InvalidInputError(f"is_held is {_shown(is_held)}: true or false is needed")


def _check_names(header: Header) -> None:
    for what, value in (("actor", header.actor), ("method", header.method), ("source", header.source.ref)):
        if value and not value.isprintable():
            raise InvalidInputError(f"{what} is {_shown(value)}: use characters that print")


def _text(what: str, value: object, limit: int = 10_000) -> str:
    if not isinstance(value, str) or len(value) > limit or "\0" in value:
        raise InvalidInputError(f"{what} is {_shown(value)}: a text is needed")
    return value


def _list(what: str, value: object, least: int, most: int) -> list[Any]:
    if not isinstance(value, list) or not least <= len(value) <= most:
        raise InvalidInputError(f"{what} is {_shown(value)}: a list of {least} to {most} values is needed")
    return value


def _rows(header: dict, name: str, width: int) -> list[list[Any]]:
    return [_list(name, row, width, width) for row in _list(name, header.get(name, []), 0, 100_000)]


def _check_payload(form: Form, payload: Any) -> None:
    needed, optional = _PAYLOADS[form]
    _keys("the payload", payload, set(needed), frozenset(optional))
    for name, value in payload.items():
        (needed.get(name) or optional[name])(name, value)


def _digest(what: str, value: object) -> None:
    if len(_text(what, value)) != 64 or not _DIGEST_LETTERS.issuperset(str(value)):
        raise InvalidInputError(f"{what} is {_shown(value)}: the 64 hex characters of a SHA-256 are needed")


def _object(what: str, value: object) -> None:
    if not isinstance(value, dict):
        raise InvalidInputError(f"{what} is {_shown(value)}: an object is needed")


def _texts(what: str, value: object) -> None:
    _object(what, value)
    for one in value.values():  # type: ignore[attr-defined]
        _text(what, one)


def _numbers(what: str, value: object) -> None:
    _object(what, value)
    for one in value.values():  # type: ignore[attr-defined]
        if type(one) not in (int, float):
            raise InvalidInputError(f"{what} holds {_shown(one)}: numbers are needed")


def _counts(what: str, value: object) -> None:
    for one in _list(what, value, 0, 10_000_000):
        check_number(what, one)


def _ratio(what: str, value: object) -> None:
    if type(value) not in (int, float) or not 0.0 < value <= 1.0:  # type: ignore[operator]
        raise InvalidInputError(f"{what} is {_shown(value)}: a number above 0 and up to 1 is needed")


def _position(what: str, value: object) -> None:
    if check_number(what, value) >= 2**31:
        raise InvalidInputError(f"{what} is {value}: at most 2^31 - 1 can be indexed")


def _role(_: str, value: object) -> None:
    check_role(value)


_Checks = dict[str, Callable[[str, object], object]]
_PAYLOADS: dict[Form, tuple[_Checks, _Checks]] = {
    Form.PLAINTEXT: (
        {},
        {"role": _role, "speaker": check_name, "title": check_name, "position": _position, "attributes": _object},
    ),
    Form.ACTIVATION: (
        {
            "digest": _digest,
            "num_bytes": check_number,
            "token_ids": _counts,
            "positions": _counts,
            "kept_ratio": _ratio,
            "codec": _text,
        },
        {"fingerprint": _texts, "attributes": _object},
    ),
    Form.PARAMETRIC: (
        {"digest": _digest, "num_bytes": check_number},
        {"base_fingerprint": _texts, "probes": _numbers, "attributes": _object},
    ),
}
