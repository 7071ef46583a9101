"""Importers: a file in, messages, documents and problems out; the vault is never touched."""

from engramos.roles import Role

ROLE = Role("importers", "engramos.importers", "Importer")

__all__ = ["ROLE"]
