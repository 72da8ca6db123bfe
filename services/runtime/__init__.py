"""What every process needs to start: its settings and its log."""
