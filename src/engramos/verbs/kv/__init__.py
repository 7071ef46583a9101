"""Verbs on KV cubes. One file a verb, named as the method of `engramos.kv.KVMemory`."""
