"""Versions of models: found, loaded, warmed up, swapped, unloaded."""
