"""Rollouts of a gateway: one leads them, every process draws and counts."""
