"""Folders and tables as people have them, read as one table."""
