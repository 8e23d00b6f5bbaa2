"""What a policy would do, found out before it does: explained, tested, compared, replayed. Pure, but for reading files."""
