"""Measures what a request costs in Penstock beside plain proxies, and how long a client waits for it."""
