"""Parametric memory: knowledge in small weights beside a base model, which is never changed."""
