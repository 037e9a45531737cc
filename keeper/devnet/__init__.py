"""A local chain with the real contracts, for rehearsals and tests."""
