"""Captured pictures, labelled by a person in the browser, and exported for training and evaluation."""
