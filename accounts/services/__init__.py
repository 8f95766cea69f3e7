"""What may be done in the accounts app."""
