"""Every codec keeps the promise of its role, over caches small and odd."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import FrozenInstanceError, dataclass, fields

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from engramos.activation.codecs import ROLE
from engramos.activation.codecs.base import KEYS, VALUES, Codec
from engramos.errors import ConfigError, CorruptPayloadError, InvalidInputError
from engramos.testing.codecs import CHECKS, cache, check_codec

torch.set_num_threads(1)
OTHERS = [name for name in ROLE.names() if name != "full"]
VARIANTS = (
    ("int4", {"bits": 2, "residual": 5}),
    ("int4", {"bits": 8, "group_size": 7}),
    ("mikv", {"important_ratio": 0.0, "low_bits": 3}),
    ("mikv", {"important_ratio": 1.0}),
    ("gear", {"bits": 4, "rank": 0, "outlier_ratio": 0.0}),
    ("gear", {"bits": 8, "rank": 2, "outlier_ratio": 0.2, "residual": 9}),
    ("rotated", {"bits": 4, "seed": 9, "residual": 200}),
    ("think", {"kept_ratio": 1.0, "residual": 0}),
    ("cskv", {"rank_ratio": 1.0, "residual": 0}),
    ("xkv", {"num_layers": 1, "residual": 3}),
    ("shadowkv", {"chunk_size": 3, "outlier_ratio": 1.0, "values": "full"}),
    ("memory_vq", {"piece_size": 7, "num_entries": 3, "num_iterations": 1, "num_sinks": 0}),
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", ROLE.names())
def test_a_codec_passes(name: str, check: Callable[[Codec], None]) -> None:
    check(ROLE.make(name))


@pytest.mark.parametrize(("name", "parameters"), VARIANTS)
def test_a_codec_passes_with_other_parameters(name: str, parameters: dict[str, object]) -> None:
    for check in CHECKS:
        # a codebook of three entries is not near to anything
        if name != "memory_vq" or check.__name__ != "check_what_comes_back_is_near":
            check(ROLE.make(name, **parameters))


@pytest.mark.parametrize("side", [KEYS, VALUES])
@pytest.mark.parametrize("name", ROLE.names())
def test_parts_come_through_a_safetensors_file_unchanged(name: str, side: str) -> None:
    codec = ROLE.make(name)
    for num_tokens in (0, 50):
        parts = codec.encode(cache(num_tokens=num_tokens), side)
        direct = codec.decode(parts, side, torch.float32)
        stored = codec.decode(load(save(parts)), side, torch.float32)
        assert all(torch.equal(one, other) for one, other in zip(stored, direct, strict=True))


@pytest.mark.parametrize("name", ROLE.names())
def test_a_codec_is_frozen_and_refuses_unknown_parameters(name: str) -> None:
    codec = ROLE.make(name)
    for field in fields(codec):
        with pytest.raises(FrozenInstanceError):
            setattr(codec, field.name, getattr(codec, field.name))
    with pytest.raises(ConfigError, match="no_such_thing"):
        ROLE.make(name, no_such_thing=1)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [0, 20, -1])
@pytest.mark.parametrize("name", OTHERS)
def test_numbers_that_are_not_finite_are_refused(name: str, place: int, number: float) -> None:
    given = cache()
    given[1][1, place, 5] = number
    for side in (KEYS, VALUES):
        with pytest.raises(InvalidInputError, match="NaN or infinity"):
            ROLE.make(name).encode(given, side)


@dataclass(frozen=True)
class Careless(Codec):
    """Breaks one promise."""

    wrong: str = ""

    def encode(
        self,
        tensors: Sequence[Tensor],
        side: str,
        *,
        importance: Sequence[Tensor] | None = None,
        queries: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        if self.wrong == "writes":
            tensors[0].mul_(2)
        if self.wrong == "lends":
            return {str(at): one for at, one in enumerate(tensors)}
        whole = torch.stack(tuple(tensors))
        if self.wrong == "random":
            whole += torch.rand(())
        if self.wrong == "strided":
            return {"whole": whole.mT}
        return {"whole": whole.double() if self.wrong == "wide" else whole}

    def decode(self, parts: Mapping[str, Tensor], side: str, dtype: torch.dtype) -> list[Tensor]:
        if self.wrong == "lends":
            return [one.to(dtype) for one in parts.values()]
        if self.wrong != "trusts" and (
            parts.keys() != {"whole"} or not parts["whole"].is_floating_point() or parts["whole"].dim() != 4
        ):
            raise CorruptPayloadError("test", "whole", "other")
        whole = parts["whole"].mT if self.wrong == "strided" else parts["whole"]
        if self.wrong == "far":
            whole = -whole
        if self.wrong == "divides":
            whole = whole / whole.abs().amax() * whole.abs().amax()
        return list((whole if self.wrong == "dtype" else whole.to(dtype)).unbind(0))


def test_a_codec_that_keeps_every_promise_passes() -> None:
    check_codec(Careless())


@pytest.mark.parametrize("wrong", ["writes", "lends", "random", "strided", "wide", "trusts", "far", "divides", "dtype"])
def test_a_broken_promise_is_seen(wrong: str) -> None:
    with pytest.raises((AssertionError, KeyError, IndexError, RuntimeError)):
        check_codec(Careless(wrong))
