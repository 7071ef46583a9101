"""Editors: they change what a model says of single facts. `base.py` holds the role."""

from engramos.roles import Role

ROLE = Role("editors", "engramos.parametric.editors", "Editor")
