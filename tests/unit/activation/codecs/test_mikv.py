"""Important tokens in high precision, the rest in low precision."""

import pytest
import torch
from torch import Tensor

from engramos.activation.codecs.base import KEYS, VALUES, bits_per_value
from engramos.activation.codecs.mikv import MiKV
from engramos.errors import ConfigError, CorruptPayloadError
from engramos.testing.codecs import cache


def errors(codec: MiKV, given: list[Tensor], side: str, **hints: list[Tensor]) -> Tensor:
    """Return the relative error of each token: (layers, kv_heads, tokens)."""
    found = torch.stack(codec.decode(codec.encode(given, side, **hints), side, torch.float32))
    wanted = torch.stack(given)
    return (found - wanted).norm(dim=-1) / wanted.norm(dim=-1)


def best_tokens(found: Tensor, num: int) -> list[int]:
    return sorted(found.argsort()[:num].tolist())


def test_the_tokens_of_the_greatest_importance_are_precise_in_each_head() -> None:
    importance = [torch.zeros((2, 40)) for _ in range(2)]
    wanted = {(0, 0): [1, 5, 9, 30], (0, 1): [0, 2, 38, 39], (1, 0): [3, 4, 6, 7], (1, 1): [11, 21, 22, 33]}
    for (layer, head), tokens in wanted.items():
        importance[layer][head, tokens] = 1.0
    found = errors(MiKV(important_ratio=0.1, low_bits=2), cache(num_tokens=40), VALUES, importance=importance)
    for (layer, head), tokens in wanted.items():
        assert best_tokens(found[layer, head], 4) == tokens
        assert found[layer, head].sort().values[3] < 0.02 < found[layer, head].sort().values[4]


def test_no_token_is_lost() -> None:
    assert errors(MiKV(important_ratio=0.1, low_bits=2), cache(), KEYS).max() < 0.7


def test_without_importance_the_first_tokens_and_the_newest_are_precise() -> None:
    found = errors(MiKV(important_ratio=0.25, low_bits=2, num_sinks=4), cache(num_tokens=40), KEYS)
    for head in found.flatten(0, 1):
        assert best_tokens(head, 10) == [0, 1, 2, 3, 34, 35, 36, 37, 38, 39]


def test_the_bits_are_those_of_both_shares_and_one_for_each_token() -> None:
    parts = MiKV(important_ratio=0.25, low_bits=4).encode(cache(num_tokens=64), VALUES)
    assert bits_per_value(parts, 2 * 2 * 64 * 64) == 0.25 * 8.25 + 0.75 * 5 + 1 / 64


def test_channels_that_queries_weigh_heavily_are_kept_more_precisely() -> None:
    random = torch.Generator().manual_seed(2)
    given = [torch.randn((1, 64, 64), generator=random)]
    given[0][:, :, 5] *= 30
    queries = [torch.randn((3, 20, 64), generator=random)]
    queries[0][:, :, 5] /= 30
    codec = MiKV(important_ratio=0.0, low_bits=4)
    wanted = queries[0] @ given[0].mT

    def error(hints: dict[str, list[Tensor]]) -> float:
        found = codec.decode(codec.encode(given, KEYS, **hints), KEYS, torch.float32)[0]
        return float((queries[0] @ found.mT - wanted).norm() / wanted.norm())

    assert error({"queries": queries}) < 0.5 * error({})


def test_values_need_no_balance() -> None:
    queries = [torch.randn((2, 5, 64)) for _ in range(2)]
    assert MiKV().encode(cache(), VALUES, queries=queries)["balancer"].shape[-1] == 0


@pytest.mark.parametrize(
    ("name", "value"), [("important_ratio", 1.5), ("low_bits", 5), ("group_size", 0), ("num_sinks", -1)]
)
def test_wrong_parameters_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name} is {value}"):
        MiKV(**{name: value})


def test_a_mask_of_other_tokens_than_there_are_is_refused() -> None:
    parts = MiKV().encode(cache(num_tokens=64), KEYS)
    parts["important"][0, 0, 0] ^= 1
    with pytest.raises(CorruptPayloadError, match="important"):
        MiKV().decode(parts, KEYS, torch.float32)
