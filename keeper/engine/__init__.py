"""The engine: one block, one pass."""
