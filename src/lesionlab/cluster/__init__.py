"""Ray: a connection, and calls side by side on its nodes."""

ENGINES = ("local", "ray")  # where work that can be spread is done
