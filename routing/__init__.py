"""Who should answer: pure functions and values; time and chance come in as arguments."""
