"""Whether the backends have what a policy names, by asking them."""
