"""Evals: how well a memory brings back what was said, measured on public benchmarks, with no LLM."""

from engramos.roles import Role

ROLE = Role("evals", "engramos.evals.benchmarks", "Benchmark")
