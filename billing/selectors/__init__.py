"""What may be read in the billing app."""
