"""The management API under /api/v1: what a program with a management key reads and changes of its workspace.

Why it is Django's, and what it is made of: docs/decisions/0015-the-management-api.md.
"""
