"""BERT's uncased WordPiece tokenizer, in Python.

Ours instead of the package `tokenizers`, which adds 13 packages to an install: docs/decisions/0004-own-wordpiece.md.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_MAX_WORD_CHARS = 100
_SLICE_CHARS = 8_192
_TABLE_CHARS = 65_536
_CJK = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),  # BERT says 2B820; the tokenizers package, which made the models' inputs, says 2B920
    (0x2F800, 0x2FA1F),
)


class _Table(dict[int, str]):
    """Code point -> what is left of it: lower case, no accent, punctuation and ideographs set apart by spaces.

    Filled as code points are met. One code point at a time is enough: decomposing a whole text would also sort its
    accents, which are dropped, and takes quadratic time on a text made to abuse it.
    """

    def __missing__(self, code: int) -> str:
        left = _left_of(chr(code))
        if len(self) < _TABLE_CHARS:
            self[code] = left
        return left


def _left_of(char: str) -> str:
    category = unicodedata.category(char)
    if char in "\t\n\r" or category in ("Zs", "Zl", "Zp"):
        return " "
    if char == "\ufffd" or category in ("Cc", "Cf", "Co", "Cs"):
        return ""
    left = "".join(_folded(part) for part in unicodedata.normalize("NFD", char))
    return f" {left} " if any(first <= ord(char) <= last for first, last in _CJK) else left


def _folded(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Mn":
        return ""
    if category.startswith("P") or (char.isascii() and not char.isalnum()):
        return f" {char} "
    return char.lower()


_TABLE = _Table()


class Special(NamedTuple):
    """The ids that are no piece of a text."""

    unknown: int
    start: int
    end: int


class WordPiece:
    """Turns text into the token ids that BERT models of English read.

    Keeps no text: nothing of what it has read stays in memory.

    Source: BERT's FullTokenizer, https://arxiv.org/abs/1810.04805 and google-research/bert, as the package
    `tokenizers` implements it.
    Differs: a text that spells a special token ("[SEP]") is read as text, so that nobody can forge one; characters
    that Unicode added after version 8 follow Python's tables, where that package keeps the old ones.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._ids: Mapping[str, int] = {piece: number for number, piece in enumerate(vocabulary)}
        self._inner = {piece[2:]: number for piece, number in self._ids.items() if piece.startswith("##")}
        self._longest = max(map(len, self._ids), default=0)
        self.special = Special(self._ids["[UNK]"], self._ids["[CLS]"], self._ids["[SEP]"])

    def encode(self, text: str, max_tokens: int) -> list[int]:
        """Return the ids of `[CLS] text [SEP]`, the end of the text cut so that at most `max_tokens` are left.

        Args:
            text: any text, lone surrogates included.
            max_tokens: the most ids to return, >= 2.
        """
        return [self.special.start, *self._inside(text, max_tokens - 2), self.special.end]

    def encode_pair(self, first: str, second: str, max_tokens: int) -> tuple[list[int], list[int]]:
        """Return the ids of `[CLS] first [SEP] second [SEP]`, and for each id whether it belongs to the second: 0 or 1.

        The end of the second text is cut; the first is cut only where it alone would fill more than half.

        Args:
            first: any text, lone surrogates included.
            second: the same.
            max_tokens: the most ids to return, >= 3.
        """
        end = self.special.end
        rest = self._inside(second, max_tokens - 3)
        ahead = self._inside(first, max(max_tokens - 3 - len(rest), (max_tokens - 3) // 2))
        rest = rest[: max_tokens - 3 - len(ahead)]
        ids = [self.special.start, *ahead, end, *rest, end]
        return ids, [0] * (len(ahead) + 2) + [1] * (len(rest) + 1)

    def _inside(self, text: str, room: int) -> list[int]:
        """Return at most `room` ids of a text, without special ones."""
        ids: list[int] = []
        start = 0
        # Slices end at a space, which always ends a word: a long text costs no more than the tokens that count.
        while start < len(text) and len(ids) < room:
            space = text.find(" ", start + _SLICE_CHARS)
            end = len(text) if space < 0 else space
            self._extend(ids, text[start:end])
            start = end
        return ids[:room]

    def _extend(self, ids: list[int], text: str) -> None:
        known = self._ids
        for word in text.translate(_TABLE).split():
            whole = known.get(word)
            if whole is None:
                ids += self._pieces(word)
            else:
                ids.append(whole)

    def _pieces(self, word: str) -> list[int]:
        """Return the longest known pieces from left to right, or the unknown token if they do not cover the word."""
        if len(word) > _MAX_WORD_CHARS:
            return [self.special.unknown]
        pieces: list[int] = []
        known: Mapping[str, int] = self._ids
        start = 0
        while start < len(word):
            for end in range(min(len(word), start + self._longest), start, -1):
                piece = known.get(word[start:end])
                if piece is not None:
                    break
            else:
                return [self.special.unknown]
            pieces.append(piece)
            start, known = end, self._inner
        return pieces
