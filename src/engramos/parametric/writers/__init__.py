"""Writers: they turn facts or texts into adapters. `base.py` holds the role."""

from engramos.roles import Role

ROLE = Role("writers", "engramos.parametric.writers", "Writer")
