"""The life of a classifier: each command that makes or evaluates a model, from a folder to files that stay."""
