"""How much each size of the benchmark measures."""

from dataclasses import dataclass


@dataclass
class Size:
    """Numbers of memories, by measure."""

    adds: int
    batch_adds: int
    searched: tuple[int, ...]
    tenants: tuple[int, ...]
    """Tenants in one vault, the searched user's among them."""
    beside_tenants: int
    """Memories of the user that is searched among tenants."""
    opened: int
    """Memories of the vault that is opened; a multiple of 2,000."""
    peers: tuple[int, ...]
    """Memories that are searched beside peers."""


SIZES = {
    "tiny": Size(100, 1_000, (1_000,), (1, 10), 500, 2_000, (200,)),
    "small": Size(1_000, 10_000, (10_000, 100_000), (1, 100, 1_000), 2_000, 20_000, (2_000,)),
    "full": Size(1_000, 10_000, (10_000, 100_000), (1, 100, 10_000), 2_000, 1_000_000, (2_000, 10_000)),
}
