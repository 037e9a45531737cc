"""What would have happened: forecasts scored on price histories."""
