"""What lesionlab says of itself wherever it writes or shows a result: its version, and what it is not."""

__version__ = "0.2.0"

NOT_A_DEVICE = "Research software, not a medical device: it must not be used to diagnose or to decide on treatment."
