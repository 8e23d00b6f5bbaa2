"""What replicas share, kept in Redis: asked within 50 ms or not at all, and never waited for while it is away."""
