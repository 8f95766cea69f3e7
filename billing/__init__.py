"""How much: wallets, grants, holds, the ledger, tiers."""
