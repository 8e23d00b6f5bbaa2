"""Keeps a policy in force: notices that its file has changed, judges what it says, puts it in force, remembers what was."""
