"""Caps on pace, kept in Redis: requests per minute. Money and daily quotas are PostgreSQL's (billing)."""
