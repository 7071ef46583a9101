"""Query: a question, prepared once for all methods that score."""

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from engramos.plaintext.times import TimeRange


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked, in the forms that methods need."""

    text: str
    terms: dict[int, int]
    """Term -> how often the question has it."""
    words: tuple[str, ...]
    """Words in lower case, stop words too, in their order."""
    vector: np.ndarray | None
    """Unit vector, float32 (dims,); None where the memory has no vectors."""
    asked_at: datetime
    """The conversation's clock; aware."""
    times: tuple[TimeRange, ...] = field(default=())
    """The ranges that the question's time expressions mean."""
    allowed: np.ndarray | None = None
    """Which rows may be found, bool (rows,); None for all."""
