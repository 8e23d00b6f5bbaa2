"""A/B tests: how long they must run, what clients tell later of their requests, and what it comes to."""
