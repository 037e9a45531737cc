"""What makes the engine a service: logging and what tells its owner how it is."""
