"""The networks, and the chain that trains them together."""
