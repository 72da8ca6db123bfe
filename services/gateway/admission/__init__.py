"""Who may ask, how much, and until when."""
