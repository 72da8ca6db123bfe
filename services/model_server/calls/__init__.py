"""What a call does: Predict, Classify, Regress, metadata, status."""
