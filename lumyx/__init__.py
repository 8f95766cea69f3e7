"""Wiring: settings, entry points and the small libraries that every app shares."""
