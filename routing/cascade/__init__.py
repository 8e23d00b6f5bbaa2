"""Which rows a cascade sends up, and how sure an answer must be to stay."""
