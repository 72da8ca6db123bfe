"""ClearDigits' services: each folder is a process, except core (pure functions), runtime (start-up) and pb (stubs)."""
