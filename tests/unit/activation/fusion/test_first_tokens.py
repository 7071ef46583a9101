"""The first tokens of each piece but the first are computed again."""

import pytest

from engramos.activation.fusion.first_tokens import FirstTokens
from engramos.errors import ConfigError


def test_each_piece_but_the_first_begins_anew() -> None:
    assert FirstTokens(2).choose((5, 4, 3), None).tolist() == [5, 6, 9, 10]


def test_a_piece_shorter_than_asked_is_renewed_in_full_and_no_more() -> None:
    assert FirstTokens(8).choose((5, 2, 9), None).tolist() == [5, 6, *range(7, 15)]


def test_one_piece_alone_needs_nothing() -> None:
    assert FirstTokens(8).choose((5,), None).tolist() == []


def test_no_tokens_is_refused_and_names_the_method_for_it() -> None:
    with pytest.raises(ConfigError, match="rerotate"):
        FirstTokens(0)
