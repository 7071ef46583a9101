"""Codes: short forms of vectors, by which the rows worth an exact product are found sooner."""

from engramos.roles import Role

ROLE = Role("codes", "engramos.plaintext.codes", "Codes")
