"""What stands behind the edges: each front turns one transport's requests into questions to the data plane."""
