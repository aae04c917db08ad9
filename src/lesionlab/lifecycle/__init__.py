"""The life of a classifier: each command that makes or judges a model, from a folder to files that stay."""
