"""Verbs on parametric memory: one a file."""
