"""What tests of engramos and of its plugins use; shipped, so that strangers' methods are held to the same suites."""

from engramos.testing.clock import FakeClock

__all__ = ["FakeClock"]
