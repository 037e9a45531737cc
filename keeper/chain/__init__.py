"""The chain's edge: endpoints, one reader, heads, fees, keys and the transaction manager."""
