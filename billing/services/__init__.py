"""What may be done in the billing app."""
