"""Pure functions: arrays in, arrays out. README.md says what may live here."""
