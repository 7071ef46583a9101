"""Rankers: each makes one order of the scores that retrievers gave."""

from engramos.roles import Role

ROLE = Role("rankers", "engramos.plaintext.rankers", "Ranker")
