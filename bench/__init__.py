"""The benchmark: its own mock upstream and load generator, around one gateway worker on a core of its own."""
