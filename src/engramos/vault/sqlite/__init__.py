"""The vault in one SQLite file, by Python's own sqlite3."""
