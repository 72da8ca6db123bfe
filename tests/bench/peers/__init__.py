"""The chain beside what a user would write instead: one FastAPI app with both models inside."""
