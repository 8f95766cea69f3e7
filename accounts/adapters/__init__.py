"""What allauth asks the project: about accounts, second factors, sessions and sign-in providers."""
