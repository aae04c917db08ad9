"""A run's directory: who may write in it, what is in it, how it is read back."""
