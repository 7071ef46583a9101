"""Names of KV blocks."""

import subprocess
import sys

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engramos.activation.blocks import (
    BLOCK_TOKENS,
    block_hashes,
    chain_of,
    common_tokens,
    root_hash,
    salt_of,
    segment_hash,
    token_bytes,
)
from engramos.errors import InvalidInputError

SECRET = bytes(range(32))
SALT = salt_of("acme", SECRET)
TOKENS = list(range(200))


def hashes(tokens, fingerprint="f" * 64, salt=SALT, size=BLOCK_TOKENS):
    return block_hashes(tokens, fingerprint, salt, size)


def test_only_full_blocks_have_a_hash():
    assert [len(hashes(TOKENS[:num])) for num in (0, 63, 64, 127, 128, 200)] == [0, 0, 1, 1, 2, 3]


def test_a_longer_text_keeps_the_hashes_of_its_beginning():
    assert hashes(TOKENS)[:2] == hashes(TOKENS[:128])


@pytest.mark.parametrize("at", [0, 63, 64, 127])
def test_a_changed_token_changes_its_block_and_all_after_it_and_none_before(at):
    changed = [*TOKENS[:at], 9999, *TOKENS[at + 1 :]]
    before, after = hashes(TOKENS), hashes(changed)
    assert [one == other for one, other in zip(before, after, strict=True)] == [at // 64 > block for block in range(3)]


def test_equal_blocks_at_different_places_have_different_hashes():
    assert len(set(hashes([7] * 640))) == 10


def test_model_tenant_and_block_size_are_in_every_hash_and_in_the_root():
    sets = [
        {root_hash(fingerprint, salt, size), *hashes(TOKENS, fingerprint, salt, size)}
        for fingerprint, salt, size in (
            ("f" * 64, SALT, 64),
            ("e" * 64, SALT, 64),
            ("f" * 64, salt_of("other", SECRET), 64),
            ("f" * 64, SALT, 65),
        )
    ]
    assert len(set.union(*sets)) == sum(map(len, sets))


def test_another_process_computes_the_same_hashes():
    code = (
        "from engramos.activation.blocks import *\n"
        f"print(block_hashes(range(200), 'f' * 64, salt_of('acme', {SECRET!r})))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == str(hashes(TOKENS))


def test_a_salt_needs_the_secret_and_differs_by_tenant():
    salts = {salt_of("acme", SECRET), salt_of("acme", SECRET[::-1]), salt_of("acm", SECRET), salt_of("Acme", SECRET)}
    assert len(salts) == 4
    assert salt_of("acme", SECRET) == SALT


def test_a_piece_has_one_hash_wherever_it_stands_and_never_that_of_a_block():
    assert segment_hash(TOKENS[:64], "f" * 64, SALT) == segment_hash(numpy.arange(64), "f" * 64, SALT)
    others = {
        segment_hash(TOKENS[1:65], "f" * 64, SALT),
        segment_hash(TOKENS[:63], "f" * 64, SALT),
        segment_hash(TOKENS[:64], "e" * 64, SALT),
        segment_hash(TOKENS[:64], "f" * 64, salt_of("other", SECRET)),
        *hashes(TOKENS),
    }
    assert segment_hash(TOKENS[:64], "f" * 64, SALT) not in others
    assert len(others) == 7


def test_a_list_and_any_array_of_numbers_hash_alike():
    wanted = hashes(TOKENS)
    assert [hashes(numpy.array(TOKENS, dtype=one)) == wanted for one in ("u1", "i2", "<i4", ">i8")] == [True] * 4


@pytest.mark.parametrize("tokens", [[-1], [2**31], [2**70], [1.0], [True], ["1"], [[1]], [None], [[1], [2, 3]]])
def test_what_is_no_token_is_refused(tokens):
    for act in (token_bytes, hashes):
        with pytest.raises(InvalidInputError, match="token ids"):
            act(tokens)


@pytest.mark.parametrize("salt", [b"", b"short", bytes(65), "x" * 32, None])
def test_a_salt_that_protects_nothing_is_refused(salt):
    with pytest.raises(InvalidInputError, match="salt"):
        hashes(TOKENS, salt=salt)
    with pytest.raises(InvalidInputError, match="salt"):
        segment_hash(TOKENS, "f", salt)
    with pytest.raises(InvalidInputError, match="secret"):
        salt_of("acme", salt)


def test_a_block_of_no_tokens_is_refused():
    with pytest.raises(InvalidInputError, match="block_tokens is 0"):
        hashes(TOKENS, size=0)


def test_a_chain_gives_its_blocks_and_nodes():
    chain = chain_of(TOKENS, "f" * 64, SALT)
    assert (chain.num_tokens, chain.num_blocks, len(chain.hashes)) == (200, 4, 3)
    assert chain.node(0) == root_hash("f" * 64, SALT)
    assert [chain.node(at) for at in (1, 2, 3)] == hashes(TOKENS)
    assert [chain.block(at) for at in range(5)] == [token_bytes(TOKENS[at * 64 : at * 64 + 64]) for at in range(5)]


rows = st.lists(st.integers(0, 2) | st.sampled_from([255, 256, 2**31 - 1]), max_size=12)


@given(rows, rows)
def test_bytes_sort_as_tokens_do_and_common_tokens_are_counted(one, other):
    left, right = token_bytes(one), token_bytes(other)
    assert (left < right) == (one < other)
    wanted = 0
    while wanted < min(len(one), len(other)) and one[wanted] == other[wanted]:
        wanted += 1
    assert common_tokens(left, right) == wanted
