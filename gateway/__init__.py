"""The request: catalog, usage events, and the hot path."""
