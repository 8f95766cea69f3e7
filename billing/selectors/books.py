"""One hash over the books: equal before and after whatever must not change them."""

import hashlib

from django.db import connection

TABLES = ("billing_ledgerentry", "billing_creditgrant", "billing_hold", "billing_dailyquota")

# Sums of hashes do not depend on the order of rows, and need no memory for them. One statement, so one snapshot.
# S608: the tables are constants.
_HASHES = " UNION ALL ".join(
    f"SELECT '{table}', count(*), coalesce(sum(hashtextextended(r::text, 1)::numeric), 0),"  # noqa: S608
    f" coalesce(sum(hashtextextended(r::text, 2)::numeric), 0) FROM {table} AS r"
    for table in TABLES
)


def books_hash() -> str:
    """Return a SHA-256 in hex over all entries, grants, holds and daily quotas. It reads all of them: for audits and tests."""
    with connection.cursor() as cursor:
        cursor.execute(_HASHES)
        rows = sorted(cursor.fetchall())
    return hashlib.sha256("\n".join(" ".join(map(str, row)) for row in rows).encode()).hexdigest()
