"""Measurements behind `make bench-*`: they print a table and write it where the documentation quotes it."""
