"""The HTTP server, its workers, and closed connections."""
