"""The demo page and the documentation page."""
