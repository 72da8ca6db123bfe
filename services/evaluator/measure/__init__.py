"""What is measured, and the numbers that come of it."""
