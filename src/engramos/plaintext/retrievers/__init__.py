"""Retrievers: each scores every row of a search index for a question."""

from engramos.roles import Role

ROLE = Role("retrievers", "engramos.plaintext.retrievers", "Retriever")
