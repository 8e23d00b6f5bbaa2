"""What a kept answer is found by, which are kept, and when keeping is worth it."""
