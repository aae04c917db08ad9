"""A model's last layer, fitted anew to the labelled images of a clinic; NumPy and SciPy alone."""
