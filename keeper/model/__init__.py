"""Values and arithmetic that every layer shares. Pure: no I/O, clock, environment or randomness."""
