"""What the networks learn from: MNIST, a user's pictures, printed characters, what is no digit, and batches."""
