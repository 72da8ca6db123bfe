"""The one way an operation ends badly: a sentence for the person at the terminal."""


class StackError(Exception):
    """What is wrong and how to put it right, in one line; nothing half started is left behind."""


class ImageError(StackError):
    """An image is neither here nor within reach."""


def last_line(text: str) -> str:
    """What a failing command said last, which is usually why."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
