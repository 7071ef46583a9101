"""Measuring parametric memory: what writing, editing and unlearning give and cost."""
