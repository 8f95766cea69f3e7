"""What may be done in the gateway app."""
