"""Measuring KV caches: what compression, storing and reuse cost in answers, bytes and time."""
