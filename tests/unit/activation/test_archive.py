"""The past in memory comes back by its places."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engramos.activation.archive import MemoryArchive
from engramos.errors import ConfigError, InvalidInputError, UnknownMethodError, UnsupportedError

torch.set_num_threads(1)


def stretches(*sizes: int, dtype: torch.dtype = torch.float32) -> list[tuple[torch.Tensor, torch.Tensor]]:
    random = torch.Generator().manual_seed(0)
    return [
        (torch.randn(2, size, 8, generator=random).to(dtype), torch.randn(2, size, 4, generator=random).to(dtype))
        for size in sizes
    ]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=8), st.integers(1, 9), st.data())
def test_tokens_come_back_bit_by_bit(sizes: list[int], block: int, data: st.DataObject) -> None:
    archive, parts = MemoryArchive(block_tokens=block), stretches(*sizes)
    for keys, values in parts:
        archive.append(keys, values)
    assert archive.num_tokens == sum(sizes)
    keys, values = (torch.cat(one, dim=1) for one in zip(*parts, strict=True))
    wanted = data.draw(st.lists(st.integers(-1, sum(sizes) - 1), min_size=2, max_size=2))
    places = torch.tensor(wanted).reshape(2, 1)
    found_keys, found_values = archive.gather(places)
    for head, place in enumerate(wanted):
        is_there = place >= 0
        assert torch.equal(found_keys[head, 0], keys[head, place] if is_there else torch.zeros(8))
        assert torch.equal(found_values[head, 0], values[head, place] if is_there else torch.zeros(4))


def test_heads_may_want_different_places_of_many_blocks() -> None:
    archive, ((keys, values),) = MemoryArchive(block_tokens=16), stretches(100)
    archive.append(keys, values)
    places = torch.tensor([[0, 15, 16, 99, -1], [3, 4, 5, 6, 7]])
    found, _ = archive.gather(places)
    assert torch.equal(found[0, :4], keys[0, [0, 15, 16, 99]])
    assert torch.equal(found[1], keys[1, 3:8])
    assert not found[0, 4].any()


def test_what_was_appended_may_change_afterwards() -> None:
    archive, ((keys, values),) = MemoryArchive(), stretches(5)
    before = keys.clone()
    archive.append(keys, values)
    keys.zero_()
    assert torch.equal(archive.gather(torch.arange(5).expand(2, -1))[0], before)


def test_int8_halves_the_bytes_of_bfloat16_and_stays_near() -> None:
    sizes = (256, 256)
    plain, small = MemoryArchive(block_tokens=128), MemoryArchive("int8", block_tokens=128)
    random = torch.Generator().manual_seed(0)
    for size in sizes:
        keys, values = (torch.randn(2, size, 64, generator=random).bfloat16() for _ in range(2))
        plain.append(keys, values)
        small.append(keys, values)
    assert small.num_bytes < 0.53 * plain.num_bytes
    places = torch.arange(0, 512, 3).expand(2, -1)
    for exact, near in zip(plain.gather(places), small.gather(places), strict=True):
        assert near.dtype == torch.bfloat16
        assert float((exact.float() - near.float()).abs().max()) < 0.04


def test_the_newest_tokens_of_a_codec_are_kept_as_they_are() -> None:
    archive, ((keys, values),) = MemoryArchive("int8", block_tokens=64), stretches(70)
    archive.append(keys, values)
    found, _ = archive.gather(torch.arange(64, 70).expand(2, -1))
    assert torch.equal(found, keys[:, 64:])


def test_appending_copies_nothing_that_lies_there() -> None:
    archive, parts = MemoryArchive(block_tokens=32), stretches(*[32] * 4)
    seen = []
    for keys, values in parts:
        archive.append(keys, values)
        seen.append([block[0].data_ptr() for block in archive._blocks])
    assert all(later[: len(earlier)] == earlier for earlier, later in zip(seen, seen[1:], strict=False))  # noqa: RUF007


@pytest.mark.parametrize("place", [10, -2])
def test_a_place_that_is_not_there_is_refused(place: int) -> None:
    archive, ((keys, values),) = MemoryArchive(), stretches(10)
    archive.append(keys, values)
    with pytest.raises(InvalidInputError, match=f"place {place} is not in an archive of 10 tokens"):
        archive.gather(torch.tensor([[place], [0]]))


@pytest.mark.parametrize("places", [torch.zeros(2, 1), torch.zeros(3, 1, dtype=torch.int64)])
def test_places_of_another_form_are_refused(places: torch.Tensor) -> None:
    archive, ((keys, values),) = MemoryArchive(), stretches(10)
    archive.append(keys, values)
    with pytest.raises(InvalidInputError, match="one row a head"):
        archive.gather(places)


def test_an_empty_archive_has_nothing_to_fetch() -> None:
    with pytest.raises(InvalidInputError, match="append"):
        MemoryArchive().gather(torch.zeros(2, 1, dtype=torch.int64))


def test_a_stretch_of_another_layer_is_refused() -> None:
    archive, ((keys, values),) = MemoryArchive(), stretches(10)
    archive.append(keys, values)
    for wrong in ((keys[:1], values[:1]), (keys, values[:, :4]), (keys.double(), values.double()), (values, keys)):
        with pytest.raises(InvalidInputError, match="an archive of its own"):
            archive.append(*wrong)
    assert archive.num_tokens == 10


def test_wrong_parameters_are_refused_with_the_next_step() -> None:
    with pytest.raises(ConfigError, match="block_tokens is 0"):
        MemoryArchive(block_tokens=0)
    with pytest.raises(UnknownMethodError, match="choose one of"):
        MemoryArchive("int9")
    with pytest.raises(UnsupportedError, match="needs importance"):
        MemoryArchive("mikv")
