"""Codecs: how keys and values are stored. One method a file; `base.py` holds the role."""

from engramos.roles import Role

ROLE = Role("codecs", "engramos.activation.codecs", "Codec")
