"""What a shadow's answers are compared by, and when a difference is more than the primary's own noise."""
