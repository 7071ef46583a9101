"""Peers, one a file: each a class `Store` that does with texts and given vectors what its documentation shows."""
