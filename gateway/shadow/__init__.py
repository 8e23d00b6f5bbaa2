"""What the gateway does for shadows: their own ways to the backends, and what is told of what they saw."""
