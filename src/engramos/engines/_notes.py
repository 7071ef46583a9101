"""Numbers beside the tokens that some policies and recall methods need."""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor


def notes_for(
    needs: Collection[str], token_ids: Sequence[int], scores: Tensor, cache: Any, breaks: Collection[int]
) -> dict[str, Tensor]:
    """Return the notes of the tokens of a pass.

    Args:
        needs: names of notes: `surprisal`, `sentence`.
        token_ids: of the pass.
        scores: (tokens, vocabulary) where surprisal is needed, else the last row alone.
        cache: it remembers where the pass before ended.
        breaks: tokens that end a sentence.

    Returns:
        (tokens,) float32 each, by name.
    """
    notes = {}
    if "surprisal" in needs:
        logs = torch.log_softmax(scores.float(), dim=-1)
        ids = torch.tensor(list(token_ids), device=scores.device)
        own = -logs[:-1].gather(1, ids[1:, None])[:, 0]
        first = own.new_zeros(1) if cache.last_log is None else -cache.last_log[ids[:1]]
        notes["surprisal"] = torch.cat((first, own))
        cache.last_log = logs[-1]
    if "sentence" in needs:
        numbers = []
        for token in token_ids:
            numbers.append(float(cache.sentence))
            cache.sentence += token in breaks
        notes["sentence"] = torch.tensor(numbers)
    return notes
