"""Commands that compare: noise left out, sizes, tutorials, one graph for both models, the shipped pair again."""
