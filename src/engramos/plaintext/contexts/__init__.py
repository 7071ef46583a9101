"""Contexts: how found cubes become a part of a prompt."""
