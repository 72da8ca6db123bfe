"""ClearDigits' services: each folder is a process, except core (pure functions), runtime (start-up) and pb (stubs)."""

__version__ = "0.1.0"  # pyproject.toml and openapi.yaml say the same
