"""Keeper keeps leveraged on-chain positions from being liquidated."""

__version__ = "0.1.0"
