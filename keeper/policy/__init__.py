"""Deciding: when to act, by how much, within which limits."""
