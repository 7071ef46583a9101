"""Everything comes back as long as there is room, and beyond it the newest."""

from dataclasses import dataclass

import torch

from engramos.activation.recall.base import Filed, LayerView, Recall, Recalled


@dataclass(frozen=True, slots=True)
class Full(Recall):
    """The whole archive, or its newest tokens where it is larger than what may come back. No query is asked.

    Resident: nothing.

    Source: ours; the floor that every other method is compared with.
    """

    def file(self, view: LayerView, filed: Filed) -> Filed:
        """Return the number of tokens alone."""
        filed.num_tokens += view.num_tokens
        return filed

    def select(self, view: LayerView, filed: Filed, num_tokens: int) -> Recalled:
        """Return the newest places."""
        first = max(0, filed.num_tokens - num_tokens)
        places = torch.arange(first, filed.num_tokens, device=view.keys.device)
        return Recalled(places=places.expand(view.kv_heads, -1).clone())
