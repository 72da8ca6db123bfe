"""Experiments of their own, on stacks of their own."""
