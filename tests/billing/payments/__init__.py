"""Tests of payments, against a stand-in for Stripe on loopback."""
