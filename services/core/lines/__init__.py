"""Lines of digits: a picture -> a strip (`strip`) -> pieces (`cuts`, `segment`) -> the likeliest number (`lattice`).

The classic way to read a number with a classifier of single digits: cut the line at more places than there are digits,
let the classifier judge every piece that might be one, and choose the pieces that explain the line best together.
"""
