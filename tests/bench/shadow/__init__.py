"""What a shadow costs users: below saturation, and at it."""
