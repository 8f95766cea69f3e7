"""Small libraries without Django models: ids, money, time, secrets."""
