"""Mention links: who is linked, how heavily, and how many at most."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from reconciler_cubes import cube, cubes, run

from engramos.cube import MemCube
from engramos.errors import ConfigError


def links(given: list[MemCube], **parameters: int) -> dict[tuple[int, int], float]:
    found = run("mention_links", given, **parameters).links
    return {(int(link.from_id), int(link.to_id)): link.weight for link in found}


def test_cubes_that_share_a_name_are_linked_both_ways_and_nothing_is_changed() -> None:
    given = cubes("We met Vera Holt at the fair.", "Last week Vera Holt called.", "The fair was loud.")
    assert links(given).keys() == {(0, 1), (1, 0)}
    assert run("mention_links", given).changes == ()


def test_the_cube_that_is_about_a_name_weighs_more_than_one_that_mentions_it() -> None:
    given = [
        cube(0, "We flew from Tromso."),
        cube(1, "A port in the north.", title="Tromso"),
        cube(2, "Ships to Tromso."),
    ]
    found = links(given)
    assert found[0, 1] == pytest.approx(2 * found[0, 2])


def test_a_rare_name_weighs_more_than_a_common_one() -> None:
    given = cubes("I asked Vera and Odin.", "Then Vera left.", "Then Odin left.", "So Odin came.", "For Odin then.")
    found = links(given)
    assert found[0, 1] > found[0, 2]


def test_a_first_word_that_stands_elsewhere_in_lower_case_is_no_name() -> None:
    assert links(cubes("Walnut cake again.", "Walnut is best.", "I like walnut.")) == {}


def test_links_of_a_cube_are_bounded_and_a_name_in_too_many_cubes_links_nothing() -> None:
    given = cubes(*(f"Then {'abcdefghijkl'[i]}x met Vera." for i in range(12)))
    assert len(links(given, num_links=3)) == 36
    assert links(given, most_cubes=11) == {}


@pytest.mark.parametrize("wrong", [{"num_links": 0}, {"most_cubes": 1}])
def test_a_parameter_out_of_range_is_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        run("mention_links", [], **wrong)
