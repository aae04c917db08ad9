"""From a folder to clean, split, decoded images."""
