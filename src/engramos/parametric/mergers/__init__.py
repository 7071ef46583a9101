"""Mergers: they make one adapter of several. `base.py` holds the role."""

from engramos.roles import Role

ROLE = Role("mergers", "engramos.parametric.mergers", "Merger")
