"""Tests, grouped by what they need: see CONTRIBUTING.md."""
