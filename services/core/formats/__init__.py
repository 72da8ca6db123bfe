"""Image formats, one module each: a file is walked from end to end before a decoder sees it.

`read(data)` follows the lengths, offsets and sizes that a file claims, refuses those that cannot be true
(InvalidInputError), and gives an ImageHeader, whose `data` holds no more than a decoder needs for the first picture: no
text, no profiles, no further frames, nothing after the end.
"""
