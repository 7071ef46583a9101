"""Small numbers packed into bytes."""

import pytest
import torch

from engramos.activation.codecs._packing import pack, packed_length, unpack


def bytes_of(numbers: list[int], bits: int) -> list[int]:
    return pack(torch.tensor(numbers, dtype=torch.uint8), bits).tolist()


def test_two_numbers_of_four_bits_are_a_byte_and_come_from_the_two_halves() -> None:
    assert bytes_of([1, 2, 3, 4], 4) == [1 | 3 << 4, 2 | 4 << 4]


def test_four_numbers_of_two_bits_are_a_byte() -> None:
    assert bytes_of([1, 2, 3, 0], 2) == [1 | 2 << 2 | 3 << 4]


def test_eight_numbers_of_one_bit_are_a_byte() -> None:
    assert bytes_of([1, 0, 0, 0, 1, 0, 0, 1], 1) == [0b10010001]


def test_eight_numbers_of_three_bits_are_three_bytes() -> None:
    numbers = [1, 2, 3, 4, 5, 6, 7, 0]
    whole = sum(number << (3 * at) for at, number in enumerate(numbers))
    assert bytes_of(numbers, 3) == [whole & 255, whole >> 8 & 255, whole >> 16]


@pytest.mark.parametrize(
    ("num", "bits", "wanted"), [(64, 3, 24), (64, 4, 32), (64, 2, 16), (65, 1, 9), (9, 3, 6), (0, 3, 0)]
)
def test_the_length_is_that_of_whole_words(num: int, bits: int, wanted: int) -> None:
    assert packed_length(num, bits) == wanted


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
def test_all_numbers_of_all_places_come_back(bits: int) -> None:
    numbers = torch.arange(2**bits, dtype=torch.uint8).repeat(9)[: 8 * 2**bits + 5]
    for shift in range(8):
        turned = numbers.roll(shift)
        assert torch.equal(unpack(pack(turned, bits), bits, len(turned)), turned)
