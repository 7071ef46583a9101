"""Concatenation leaves everything as it was."""

from engramos.activation.fusion.concat import Concat


def test_nothing_is_turned_and_nothing_computed_again() -> None:
    assert not Concat.turns
    assert Concat().check_layer is None
    assert Concat().choose((5, 5), None).tolist() == []
