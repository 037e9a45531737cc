"""Liquidity venues: which routes there are, and what they take. One file per venue, no I/O."""
