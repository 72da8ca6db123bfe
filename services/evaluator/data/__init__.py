"""The pictures that are asked, and their labels."""
