"""Unlearners: they take facts out of an adapter whose training data are not at hand. `base.py` holds the role."""

from engramos.roles import Role

ROLE = Role("unlearners", "engramos.parametric.unlearning", "Unlearner")
