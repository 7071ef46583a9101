"""Reconcilers: each looks at the cubes of one scope and returns the changes that make them agree."""

from engramos.roles import Role

ROLE = Role("reconcilers", "engramos.plaintext.reconcilers", "Reconciler")
"""The role of a reconciler."""
