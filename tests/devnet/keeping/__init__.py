"""What the tests of the daemon share: its process, its ground, and the gates that hold it."""
