"""Stories that cross apps: each calls several apps' services in one transaction."""
