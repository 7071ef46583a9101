import pytest
import torch
from tests.unit.activation.policies.layers import kept, random_layer

from engramos.activation.policies.sirllm import SirLLM
from engramos.errors import ConfigError


def surprised_at(*places: int, num: int = 30) -> dict[str, torch.Tensor]:
    """Return notes of a text with a few tokens that were not expected."""
    surprisal = torch.full((2, num), 0.1)
    surprisal[:, list(places)] = 8.0
    return {"surprisal": surprisal}


def test_sinks_the_newest_and_the_most_surprising_tokens_stay() -> None:
    view = random_layer(30, 0, notes=surprised_at(9, 15))
    assert kept(SirLLM(num_sinks=2, recent_share=0.5), view, 8) == [{0, 1, 9, 15, 26, 27, 28, 29}] * 2


def test_without_a_recent_share_surprise_alone_decides() -> None:
    view = random_layer(30, 0, notes=surprised_at(9, 15, 21))
    assert kept(SirLLM(num_sinks=0, recent_share=0.0), view, 3) == [{9, 15, 21}] * 2


def test_old_surprise_fades_where_it_is_told_to() -> None:
    notes = surprised_at(10, 250, num=300)
    view = random_layer(300, 0, notes=notes)
    assert kept(SirLLM(num_sinks=0, recent_share=0.0), view, 1) == [{10}] * 2
    assert kept(SirLLM(num_sinks=0, recent_share=0.0, decay=0.5), view, 1) == [{250}] * 2
    faded = SirLLM(num_sinks=0, decay=0.5).score(view)
    assert faded[0, 199].item() == pytest.approx(0.1 * 0.5)


def test_it_asks_for_surprisal() -> None:
    assert SirLLM().needs == {"surprisal"}


@pytest.mark.parametrize("wrong", [{"num_sinks": -1}, {"recent_share": 1.1}, {"decay": 0.0}, {"decay": 1.5}])
def test_wrong_numbers_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SirLLM(**wrong)
