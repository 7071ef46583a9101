import pytest
import torch

from engramos.engines.transformers import Transformers
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

TEXT = "The lighthouse keeper wrote a letter to Ana about the storm, and she answered in May. " * 3


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def engine() -> Transformers:
    return Transformers.of(tiny_model("llama"), tiny_tokenizer(), weights="tiny", block_tokens=50)


@pytest.fixture
def token_ids(engine: Transformers) -> list[int]:
    return engine.tokens(TEXT)
