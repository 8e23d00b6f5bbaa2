"""What operators ask: their port, and the API behind it for those whose credential says so."""
