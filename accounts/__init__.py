"""Who: users, workspaces, memberships, API keys."""
