"""A client of the running gateway: accuracy and latency on noisy digits, load, and what chaining costs."""
