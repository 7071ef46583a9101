"""Plaintext memory: methods that read, find and order text; values in, values out."""
