"""Findings as HTML, Markdown and plots."""
