"""A candidate taking a variant's place: who gets it, what the coin says about it, and the states in between."""
