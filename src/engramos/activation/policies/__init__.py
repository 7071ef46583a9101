"""KV policies: which tokens stay in a cache. One method a file; `base.py` holds the role."""

from engramos.roles import Role

ROLE = Role("kv_policies", "engramos.activation.policies", "Policy")
