"""The vault: cubes, versions, lineage, journal, jobs and indexes of a memory, and its blobs.

`vault.commit(changes)` is the only way in. SQLite is the embedded vault; see `docs/concepts/vault.md`.
"""
