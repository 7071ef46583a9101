"""Activation memory: KV caches as values. Tensors in, tensors out; no model, no file.

Tensors of one sequence have no batch axis: keys and values are (kv_heads, tokens, head_dim), queries (heads, queries,
head_dim). Keys are rotated to their positions unless a name says otherwise.
"""
