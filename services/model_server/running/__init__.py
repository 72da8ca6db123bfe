"""One call at a time, or calls joined into batches."""
