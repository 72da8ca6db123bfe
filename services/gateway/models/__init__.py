"""The Model protocol, and what carries its messages."""
