"""Governance: who may do what with a cube, and how long it may and must be kept."""
