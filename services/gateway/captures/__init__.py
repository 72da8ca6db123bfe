"""Pictures kept for people to label, with what was answered; off unless CAPTURE_DIR is set."""
