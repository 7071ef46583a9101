"""Routers: they say which adapters a question needs. `base.py` holds the role."""

from engramos.roles import Role

ROLE = Role("routers", "engramos.parametric.routers", "Router")
