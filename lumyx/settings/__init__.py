"""Settings, one module per kind of installation: dev, test, prod; base holds what they share."""
