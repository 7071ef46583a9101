"""Extractors: they find facts in plaintext. `base.py` holds the role."""

from engramos.roles import Role

ROLE = Role("extractors", "engramos.parametric.extractors", "Extractor")
