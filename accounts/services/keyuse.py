"""When API keys were last used: approximate, and written at most once a minute for each key."""

import datetime as dt
from collections.abc import Mapping

from django.db.models import Q

from accounts.models import ApiKey

#: A newer time replaces the stored one only when it is later by this much.
GRANULARITY = dt.timedelta(minutes=1)


def note_key_use(used: Mapping[int, dt.datetime]) -> int:
    """Move ``last_used_at`` of keys (by row id) forward, never back; returns how many rows changed."""
    changed = 0
    for key_id in sorted(used):
        at = used[key_id]
        is_due = Q(last_used_at=None) | Q(last_used_at__lte=at - GRANULARITY)
        changed += ApiKey.objects.filter(is_due, pk=key_id).update(last_used_at=at)
    return changed
