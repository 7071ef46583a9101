"""The fingerprint of a model: everything beside the tokens that decides the numbers in a KV cache."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields

from engramos.errors import InvalidInputError

FORMAT = 1
"""Raised whenever equal fields would no longer mean equal numbers."""
MAX_TEXT = 4096
MAX_ADAPTERS = 256


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What must be equal for a KV cache to fit a model; each field is a digest or another exact text.

    Raises:
        InvalidInputError: if a field is no text, empty or longer than `MAX_TEXT`.

    Source: ours. Other stores name the model by its path or its hub name, which says nothing about its bytes.
    """

    weights: str
    """Digest of the weights."""
    config: str
    """Digest of the model's configuration: layers, heads, attention layout."""
    tokenizer: str
    """Digest of the tokenizer."""
    template: str
    """Digest of the chat template."""
    dtype: str
    """Of the computation, such as `bfloat16`."""
    rope: str
    """Parameters of the rotary embeddings, or their digest."""
    adapters: tuple[str, ...] = ()
    """Digests of the adapters that were attached, in their order."""

    def __post_init__(self) -> None:
        for name in TEXTS:
            _check_text(name, getattr(self, name))
        if not isinstance(self.adapters, tuple) or len(self.adapters) > MAX_ADAPTERS:
            raise InvalidInputError(f"adapters of a fingerprint: give a tuple of at most {MAX_ADAPTERS} digests")
        for one in self.adapters:
            _check_text("adapters", one)

    @property
    def digest(self) -> str:
        """BLAKE2b over every field and the format number: 64 hexadecimal characters, the same in every process."""
        # JSON with sorted keys tells fields apart whatever they hold
        text = json.dumps(self.to_mapping(), sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=32, person=b"engramos-kv-fp").hexdigest()

    def differences(self, other: "Fingerprint") -> tuple[str, ...]:
        """Return the names of the fields that differ, in the order of the fields; empty for equal fingerprints."""
        return tuple(one.name for one in fields(self) if getattr(self, one.name) != getattr(other, one.name))

    def to_mapping(self) -> dict[str, str]:
        """Return the fields as texts, as `ActivationPayload.fingerprint` holds them; adapters are a JSON list."""
        table = {name: getattr(self, name) for name in TEXTS}
        return {"format": str(FORMAT), **table, "adapters": json.dumps(list(self.adapters), separators=(",", ":"))}

    @classmethod
    def from_mapping(cls, table: Mapping[str, str]) -> "Fingerprint":
        """Return the fingerprint that `to_mapping` wrote.

        Raises:
            InvalidInputError: if the format is another one, a field is missing or unknown, or no text.
        """
        if table.get("format") != str(FORMAT):
            raise InvalidInputError(
                f"a fingerprint of format {str(table.get('format'))[:20]!r}, and {FORMAT} is known: "
                "build the KV cube again"
            )
        wrong = sorted(map(str, table.keys() ^ {"format", "adapters", *TEXTS}))
        if wrong:
            raise InvalidInputError(
                f"a fingerprint lacks or does not know {', '.join(wrong)[:200]}: build the KV cube again"
            )
        try:
            adapters = json.loads(table["adapters"])
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidInputError("adapters of a fingerprint: no JSON list of texts") from error
        if not isinstance(adapters, list):
            raise InvalidInputError("adapters of a fingerprint: no JSON list of texts")
        return cls(**{name: table[name] for name in TEXTS}, adapters=tuple(adapters))


TEXTS = ("weights", "config", "tokenizer", "template", "dtype", "rope")
"""The fields that are one text each."""


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str) or not value or len(value) > MAX_TEXT:
        raise InvalidInputError(f"{name} of a fingerprint: give a text of 1 to {MAX_TEXT} characters")
    # a lone surrogate has no bytes, so no digest
    if any(0xD800 <= ord(letter) <= 0xDFFF for letter in value):
        raise InvalidInputError(f"{name} of a fingerprint is no valid text")
