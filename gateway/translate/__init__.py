"""Translators between a client's protocol and an upstream's; traffic of one protocol passes through untouched. Pure."""
