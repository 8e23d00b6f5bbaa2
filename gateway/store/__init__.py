"""What replicas share, kept in Redis: asked within 50 ms (about money 250) or not at all, and never waited for while it is away."""
