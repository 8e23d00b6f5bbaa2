"""What a policy would do, found out before it does: explained, tested, compared, tried on traffic, held against its backends."""
