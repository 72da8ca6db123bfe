"""The chain, its batches and its slices."""
