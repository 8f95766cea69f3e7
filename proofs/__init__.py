"""The long proofs: what the gateway promises under load and under fire, as scripts with a seed and one result line each."""
