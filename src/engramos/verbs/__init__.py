"""Verbs: a user's actions, one a file. Each reads through the vault, decides, and commits once."""
