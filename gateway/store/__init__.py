"""What replicas share, kept in Redis: asked within 50 ms (of money 250) or not at all, never waited for while it is away."""
