"""From recipe and pixels to a trained network (the only package that imports Keras)."""
