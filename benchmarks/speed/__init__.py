"""Speed and scale: beside a bare SQLite with the same durability, and beside peers with the same vectors.

`python -m benchmarks.speed --help` says how to run it; every number comes from one run of one command.
"""
