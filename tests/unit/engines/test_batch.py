"""Batches that share a beginning answer as each prompt alone, and read the beginning once."""

import itertools
import random

import pytest
import torch

from engramos.engines._batch import Group, generate_batch, grouped
from engramos.engines.base import Sampling
from engramos.engines.transformers import Transformers
from engramos.errors import ConfigError, ContextLengthError
from engramos.testing.tiny_models import ARCHITECTURES, tiny_model, tiny_tokenizer

torch.set_num_threads(1)


def engine_of(architecture: str, *, block_tokens: int = 16) -> Transformers:
    return Transformers.of(
        tiny_model(architecture, window=12), tiny_tokenizer(), weights=architecture, block_tokens=block_tokens
    )


def alone(engine: Transformers, prompt: list[int], sampling: Sampling) -> list[int]:
    cache = engine.new_cache()
    scores = engine.prefill(prompt, cache)
    return [token for piece in engine.generate(scores, cache, sampling) for token in piece.token_ids]


def random_prompts(seed: int) -> list[list[int]]:
    """Return prompts with two long beginnings, rows of different lengths, one of them alone, two the same."""
    source = random.Random(seed)
    first, second = ([source.randrange(250) for _ in range(num)] for num in (50, 20))
    tails = [[source.randrange(250) for _ in range(num)] for num in (1, 7, 30, 3, 3, 18)]
    parts = [(first, 0), ([], 5), (second, 1), (first, 2), (second, 3), (first, 4), (first, 4)]
    return [[*start, *tails[number]] for start, number in parts]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_batch_answers_as_each_prompt_alone(architecture: str) -> None:
    engine = engine_of(architecture)
    prompts = random_prompts(1)
    sampling = Sampling(max_tokens=20)
    wanted = [alone(engine, prompt, sampling) for prompt in prompts]
    assert generate_batch(engine, prompts, sampling) == wanted
    assert len({tuple(answer) for answer in wanted}) > 4


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_drawn_tokens_are_those_of_each_prompt_alone(architecture: str) -> None:
    engine = engine_of(architecture)
    prompts = random_prompts(2)
    sampling = Sampling(max_tokens=12, temperature=0.8, top_p=0.9, seed=5)
    assert generate_batch(engine, prompts, sampling) == [alone(engine, prompt, sampling) for prompt in prompts]


def test_each_row_stops_at_its_own_end() -> None:
    engine = engine_of("llama")
    prompts = random_prompts(3)
    plain = [alone(engine, prompt, Sampling(max_tokens=16)) for prompt in prompts]
    ends = {plain[0][2], plain[3][6]}
    object.__setattr__(engine._hosted, "ends", frozenset(ends))
    found = generate_batch(engine, prompts, Sampling(max_tokens=16))
    assert found == [list(itertools.takewhile(lambda token: token not in ends, answer)) for answer in plain]
    assert len({len(answer) for answer in found}) > 1


def test_a_stop_text_ends_a_row_with_the_token_that_completes_it() -> None:
    engine = engine_of("qwen2")
    prompts = random_prompts(3)
    plain = alone(engine, prompts[0], Sampling(max_tokens=16))
    # one token is one byte, and many bytes are no letter by themselves
    at = next(at for at, token in enumerate(plain) if at > 1 and "\ufffd" not in engine.text([token]))
    sampling = Sampling(max_tokens=16, stop=(engine.text([plain[at]]),))
    found = generate_batch(engine, prompts, sampling)
    assert found == [alone(engine, prompt, sampling) for prompt in prompts]
    assert found[0] == plain[: len(found[0])]
    assert found[0][-1] == plain[at]


def test_a_full_window_ends_a_row() -> None:
    engine = engine_of("llama")
    object.__setattr__(engine._hosted, "max_tokens", 64)
    longest = [number % 250 for number in range(engine.max_tokens - 3)]
    prompts = [longest, [*longest[:-2], 7]]
    sampling = Sampling(max_tokens=10)
    found = generate_batch(engine, prompts, sampling)
    assert found == [alone(engine, prompt, sampling) for prompt in prompts]
    assert [len(answer) for answer in found] == [4, 5]


def test_a_shared_beginning_is_read_once() -> None:
    engine = engine_of("llama")
    read = []
    embed = engine._hosted.model.model.embed_tokens
    embed.register_forward_pre_hook(lambda module, given: read.append(given[0].numel()))
    shared = [number % 250 for number in range(200)]
    prompts = [[*shared, 251, tail] for tail in range(5)]
    generate_batch(engine, prompts, Sampling(max_tokens=1))
    # the beginning once, and of each prompt the last token
    assert sum(read) == 201 + 5


def test_no_prompts_have_no_answers() -> None:
    assert generate_batch(engine_of("llama"), [], Sampling()) == []


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(ConfigError, match="prompt 1"):
        generate_batch(engine_of("llama"), [[1], []], Sampling())


def test_a_prompt_longer_than_the_window_is_refused() -> None:
    engine = engine_of("llama")
    with pytest.raises(ContextLengthError):
        generate_batch(engine, [[1] * (engine.max_tokens + 1)], Sampling())


def test_prompts_with_one_beginning_are_one_group_and_others_share_nothing() -> None:
    shared = [1, 2, 3, 4]
    groups = grouped([[*shared, 5], [9, 9], [*shared, 6], [*shared, 7, 8]])
    assert sorted(groups, key=lambda group: group.prefix_tokens) == [Group(0, (1,)), Group(4, (0, 2, 3))]


def test_the_last_token_of_a_prompt_is_never_shared() -> None:
    assert grouped([[1, 2, 3], [1, 2, 3]]) == [Group(2, (0, 1))]
    assert grouped([[1], [1]]) == [Group(0, (0, 1))]


def test_a_short_beginning_of_many_gives_way_to_long_ones_of_few() -> None:
    # all four share 2 tokens: 6 saved together, 2 * 10 saved in two pairs
    prompts = [[1, 2, *[pair] * 8, tail] for pair in (3, 4) for tail in (5, 6)]
    assert sorted(group.members for group in grouped(prompts)) == [(0, 1), (2, 3)]


def saved(partition: list[list[int]], prompts: list[list[int]]) -> int:
    """Return the tokens that need not be read, by the plain definition."""
    total = 0
    for members in partition:
        shortest = min(len(prompts[number]) for number in members) - 1
        shared = 0
        while shared < shortest and len({prompts[number][shared] for number in members}) == 1:
            shared += 1
        total += (len(members) - 1) * shared
    return total


def partitions(numbers: list[int]):
    if not numbers:
        yield []
        return
    first, *rest = numbers
    for others in partitions(rest):
        yield [[first], *others]
        for at, group in enumerate(others):
            yield [*others[:at], [first, *group], *others[at + 1 :]]


@pytest.mark.parametrize("seed", range(40))
def test_no_other_grouping_saves_more(seed: int) -> None:
    source = random.Random(seed)
    prompts = [[source.randrange(2) for _ in range(source.randrange(1, 9))] for _ in range(6)]
    groups = grouped(prompts)
    assert sorted(number for group in groups for number in group.members) == list(range(6))
    best = max(saved(one, prompts) for one in partitions(list(range(6))))
    assert sum((len(group.members) - 1) * group.prefix_tokens for group in groups) == best
    for group in groups:
        assert len({tuple(prompts[number][: group.prefix_tokens]) for number in group.members}) == 1
