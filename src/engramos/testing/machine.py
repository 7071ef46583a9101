"""A dictionary that says what a memory must hold: the model beside which a memory is driven."""

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Seen:
    """One version as a memory must return it."""

    text: str
    state: str
    known_us: int
    """When it was written."""
    is_true: bool = True
    """False where it is superseded."""


@dataclass(slots=True)
class MemoryModel:
    """All versions of all cubes of one user, and which cubes were erased."""

    cubes: dict[str, list[Seen]] = field(default_factory=dict)
    erased: dict[str, int] = field(default_factory=dict)
    """Number of versions by erased cube."""

    def add(self, cube_id: str, text: str, known_us: int) -> None:
        """Note a new cube."""
        assert cube_id not in self.cubes
        assert cube_id not in self.erased
        self.cubes[cube_id] = [Seen(text, "activated", known_us)]

    def write(self, cube_id: str, known_us: int, **different: object) -> None:
        """Note a further version."""
        self.cubes[cube_id].append(replace(self.cubes[cube_id][-1], known_us=known_us, **different))

    def erase(self, cube_id: str) -> None:
        """Note that a cube is gone."""
        self.erased[cube_id] = len(self.cubes.pop(cube_id))

    def listed(self) -> dict[str, str]:
        """Return the texts of the cubes that a list shows, by id in their order."""
        return {one: seen[-1].text for one, seen in sorted(self.cubes.items()) if seen[-1].state != "expired"}

    def found(self, word: str) -> set[str]:
        """Return the ids of the cubes that a search for one word finds."""
        return {
            one
            for one, seen in self.cubes.items()
            if seen[-1].state == "activated" and seen[-1].is_true and word in seen[-1].text.split()
        }

    def known_at(self, cube_id: str, known_us: int) -> Seen | None:
        """Return the version of a cube that was known at a time."""
        return next((seen for seen in reversed(self.cubes[cube_id]) if seen.known_us <= known_us), None)
