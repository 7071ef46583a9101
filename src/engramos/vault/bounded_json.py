"""JSON from untrusted bytes: what it costs is known before it is parsed."""

import json
import re

from engramos.errors import ArchiveError, translate

MAX_VALUES = 1_000_000
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.?)*+"?|[,\[{]', re.DOTALL)


def decode_object(data: bytes, what: str, *, max_values: int = MAX_VALUES, has_unique_keys: bool = False) -> dict:
    """Return the JSON object in `data`, strict UTF-8.

    Refused beside bad JSON: NaN and Infinity, nesting deeper than Python's own limit, and more values than
    `max_values`, because 64 MB of "[],[],..." would take over a gigabyte once parsed.

    Args:
        data: the bytes of one JSON text.
        what: names the text in messages.
        max_values: about how many values and containers it may hold.
        has_unique_keys: refuse an object in which a key stands twice.

    Raises:
        ArchiveError: if it is no JSON object, or too costly.
    """
    if _has_more_values(data, max_values):
        raise ArchiveError(f"{what} holds more than {max_values} values: it was not made by engramos; do not use it")
    with translate({ValueError: ArchiveError, RecursionError: ArchiveError}, f"reading {what}", next_step=_NEXT):
        pairs_hook = _unique if has_unique_keys else None
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=pairs_hook)
    if not isinstance(value, dict):
        raise ArchiveError(f"{what} is a {type(value).__name__} and must be a JSON object; {_NEXT}")
    return value


_NEXT = "get an undamaged copy, or make it again"


def _has_more_values(data: bytes, max_values: int) -> bool:
    if data.count(b",") + data.count(b"[") + data.count(b"{") <= max_values:
        return False
    # Commas inside of texts cost nothing, so a long text gets an exact count; it stops as soon as the answer is known.
    values = strings = 0
    for token in _TOKEN.finditer(data):
        if data[token.start()] == 0x22:
            strings += 1
        else:
            values += 1
        if values > max_values or strings > 2 * max_values + 1:
            return True
    return False


def _unique(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
