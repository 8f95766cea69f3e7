"""What may be read in the accounts app."""
