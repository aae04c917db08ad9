"""The version of lesionlab; everything that writes it down imports this."""

__version__ = "0.1.0"
