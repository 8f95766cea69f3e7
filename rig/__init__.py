"""A whole installation on this machine, made for one run: what the benchmark measures and the proofs torment."""
