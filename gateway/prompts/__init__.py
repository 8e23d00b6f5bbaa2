"""What `penstock router` is made of: prompts with a known need in, a router's file, its worth and a patch out."""
