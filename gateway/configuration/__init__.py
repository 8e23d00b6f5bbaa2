"""The two configuration files: read strictly, checked as a whole, compiled once to frozen values."""
