"""The tier on the engine's own device."""

from collections.abc import Hashable

import torch

from engramos.activation.kv_tensors import KVLayer, KVTensors
from engramos.activation.tiers import LRU, Tier
from engramos.engines.base import Engine


def gpu_tier(engine: Engine, budget_bytes: int) -> list[Tier]:
    """Return a tier for an engine that does not run on the CPU; none for one that does.

    Raises:
        ConfigError: if the budget is below 1.
    """
    device = torch.device(str(getattr(engine, "device", "cpu")))
    if device.type == "cpu":
        return []

    def enter(_: Hashable, value: KVTensors) -> KVTensors:
        return moved(value, device)

    return [Tier("gpu", budget_bytes, order=LRU, enter=enter)]


def moved(value: KVTensors, device: torch.device) -> KVTensors:
    """Return the same cache on another device."""
    return KVTensors(value.token_ids, tuple(_moved(layer, device) for layer in value.layers))


def _moved(layer: KVLayer, device: torch.device) -> KVLayer:
    if layer.is_ragged:
        keys, values, positions = (tuple(x.to(device) for x in layer.heads(n)) for n in ("keys", "values", "positions"))
        return KVLayer(keys, values, positions, layer.kind)
    assert isinstance(layer.keys, torch.Tensor)
    assert isinstance(layer.values, torch.Tensor)
    positions = None if layer.positions is None else torch.stack(layer.heads("positions")).to(device)
    return KVLayer(layer.keys.to(device), layer.values.to(device), positions, layer.kind)
