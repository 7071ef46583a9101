"""Rerankers: each looks closer at the first rows of a ranking and puts them into another order."""

from engramos.roles import Role

ROLE = Role("rerankers", "engramos.plaintext.rerankers", "Reranker")
"""The role of a reranker."""
