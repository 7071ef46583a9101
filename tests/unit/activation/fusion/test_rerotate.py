"""Rerotation moves keys alone."""

from engramos.activation.fusion.rerotate import Rerotate


def test_keys_are_turned_and_nothing_computed_again() -> None:
    assert Rerotate.turns
    assert Rerotate().check_layer is None
    assert Rerotate().choose((5, 5), None).tolist() == []
