"""Probes: what an adapter must show before it becomes active. `base.py` holds the role."""

from engramos.roles import Role

ROLE = Role("probes", "engramos.parametric.probes", "Probe")
