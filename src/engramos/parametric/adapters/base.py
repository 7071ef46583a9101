"""The role of adapters; the base class lies one folder above, because everything in parametric memory builds on it."""

from engramos.parametric.adapter import Adapter

__all__ = ["Adapter"]
