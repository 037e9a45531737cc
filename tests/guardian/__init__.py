"""The guardian contract on a local chain of the real Aave, Uniswap and Safe."""
