"""How well a chain reads, what it costs, and figures of both."""
