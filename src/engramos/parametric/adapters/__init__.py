"""Adapters: what acts on a base model while it is attached, one sort a file. `base.py` holds the role."""

from engramos.roles import Role

ROLE = Role("adapters", "engramos.parametric.adapters", "Adapter")
