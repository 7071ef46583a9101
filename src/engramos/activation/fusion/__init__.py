"""Fusion: separately encoded pieces made into one cache. One method a file; `base.py` holds the role."""

from engramos.roles import Role

ROLE = Role("fusion", "engramos.activation.fusion", "Fusion")
