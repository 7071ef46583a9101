"""Engines: a local model that KV cubes attach to. One library a file; `base.py` holds the role."""

from engramos.roles import Role

ROLE = Role("engines", "engramos.engines", "Engine")
