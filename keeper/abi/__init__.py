"""Calls encoded and answers decoded, without I/O."""
