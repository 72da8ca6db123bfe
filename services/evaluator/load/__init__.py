"""Load tests: users that come and go, every answer checked."""
