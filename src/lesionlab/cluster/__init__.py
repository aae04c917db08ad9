"""Ray: a connection, and calls side by side on its nodes."""
