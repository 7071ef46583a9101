"""Recall: which tokens of a long past come back for a query. One method a file; `base.py` holds the role."""

from engramos.roles import Role

ROLE = Role("recall", "engramos.activation.recall", "Recall")
