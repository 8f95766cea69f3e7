"""How upstreams stand: paused, or failing, as the requests of today and yesterday tell. Read from the roll-ups, in one query."""

import datetime as dt

from django.db.models import BigIntegerField, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from gateway.models import Upstream, UpstreamUsage
from lumyx.lib import clock

#: From this share of failed requests on, of this many at least, an upstream counts as failing.
FAILING_SHARE = 0.5
FAILING_REQUESTS = 5


def with_use(upstreams: QuerySet[Upstream]) -> QuerySet[Upstream]:
    """Return upstreams with ``recent_requests``, of which each was the last to be asked, and ``recent_errors`` among them.

    Both are of today and yesterday (UTC).
    """
    since = clock.now().date() - dt.timedelta(days=1)
    used = UpstreamUsage.objects.filter(upstream_id=OuterRef("pk"), day__gte=since).values("upstream_id").order_by()
    return upstreams.annotate(
        recent_requests=Coalesce(
            Subquery(used.annotate(n=Sum("requests")).values("n")), 0, output_field=BigIntegerField()
        ),
        recent_errors=Coalesce(Subquery(used.annotate(n=Sum("errors")).values("n")), 0, output_field=BigIntegerField()),
    )


def state_of(is_enabled: bool, *, requests: int, errors: int) -> str:
    """Return how an upstream stands: "paused", "failing", "in use" or "idle"."""
    if not is_enabled:
        return "paused"
    if requests >= FAILING_REQUESTS and errors >= requests * FAILING_SHARE:
        return "failing"
    return "in use" if requests else "idle"
