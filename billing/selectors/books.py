"""The books as a whole: their size, and one hash over them, equal before and after whatever must not change them."""

import hashlib

from django.db import connection

TABLES = ("billing_ledgerentry", "billing_creditgrant", "billing_hold", "billing_dailyquota", "billing_adjustment")

# Sums of hashes do not depend on the order of rows, and need no memory for them. One statement, so one snapshot.
# S608: the tables are constants.
_HASHES = " UNION ALL ".join(
    f"SELECT '{table}', count(*), coalesce(sum(hashtextextended(r::text, 1)::numeric), 0),"  # noqa: S608
    f" coalesce(sum(hashtextextended(r::text, 2)::numeric), 0) FROM {table} AS r"
    for table in TABLES
)
_SIZE = f"SELECT {' + '.join(f'(SELECT count(*) FROM {table})' for table in TABLES)}"  # noqa: S608


def rows_of_books() -> int:
    """Return how many entries, grants, holds, daily quotas and adjustments there are, counted one by one."""
    with connection.cursor() as cursor:
        cursor.execute(_SIZE)
        (count,) = cursor.fetchone()
    return int(count)


def books_hash() -> str:
    """Return a SHA-256 in hex over all rows of the books. It reads all of them: for audits and tests."""
    with connection.cursor() as cursor:
        cursor.execute(_HASHES)
        rows = sorted(cursor.fetchall())
    return hashlib.sha256("\n".join(" ".join(map(str, row)) for row in rows).encode()).hexdigest()
