"""What may be read in the gateway app."""
