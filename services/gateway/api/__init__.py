"""One file for each operation and dialect: requests read, answers written."""
