"""Reads tiers and what a workspace may do now."""

from django.db import connection

from billing.models import Subscription, Tier
from billing.types import Entitlements

FREE = "free"

# One query: the live subscription's tier in its current version (Free without one), under the operator's limits. One whose
# payment failed keeps its tier for a week from the end of what was paid; a paused one gives nothing.
_ENTITLEMENTS = """
SELECT tier.slug, tier.name,
       coalesce(limits.requests_per_minute, tier.requests_per_minute),
       coalesce(limits.daily_requests, tier.daily_requests)
FROM (SELECT DISTINCT ON (slug) * FROM billing_tier
      WHERE slug IN ('free', (SELECT s.tier_slug FROM billing_subscription s
                              WHERE s.workspace_id = %(workspace)s AND s.started_at <= statement_timestamp()
                                AND (s.ends_at IS NULL OR s.ends_at > statement_timestamp())
                                AND (s.status = 'active' OR s.status = 'past_due'
                                     AND s.past_due_since > statement_timestamp() - interval '7 days')
                              ORDER BY s.started_at DESC, s.id DESC LIMIT 1))
      ORDER BY slug, version DESC) AS tier
LEFT JOIN billing_limitoverride limits ON limits.workspace_id = %(workspace)s
ORDER BY tier.slug = 'free' LIMIT 1
"""


class MissingTiersError(LookupError):
    """The seed rows are missing; `manage.py migrate` writes them."""


def entitlements_of(workspace_id: int, *, owner_id: int) -> Entitlements:
    """Return what a workspace may do now.

    On a VIP tier a workspace has its own daily quota; all Free workspaces of one owner share one.

    Raises:
        MissingTiersError: there are no tiers at all.
    """
    with connection.cursor() as cursor:
        cursor.execute(_ENTITLEMENTS, {"workspace": workspace_id})
        row = cursor.fetchone()
    if row is None:
        raise MissingTiersError("There are no tiers in the database: run `manage.py migrate`.")
    slug, name, per_minute, daily = row
    subject = f"u:{owner_id}" if slug == FREE else f"w:{workspace_id}"
    return Entitlements(
        tier_slug=slug, tier_name=name, requests_per_minute=per_minute, daily_requests=daily, quota_subject=subject
    )


def current_tiers() -> list[Tier]:
    """Return the current version of every tier, cheapest first."""
    newest = Tier.objects.order_by("slug", "-version").distinct("slug")
    return sorted(newest, key=lambda tier: tier.rank)


def public_tiers() -> list[Tier]:
    """Return the tiers of the pricing page in their current version, cheapest first."""
    return [tier for tier in current_tiers() if tier.is_public]


def subscriptions_of(workspace_id: int) -> list[Subscription]:
    """Return a workspace's subscriptions, newest first."""
    return list(Subscription.objects.filter(workspace_id=workspace_id).order_by("-started_at", "-id"))


def is_paid_for(workspace_id: int) -> bool:
    """Tell whether a workspace pays for the tier that it has: then it is changed at Stripe, and not by hand."""
    return Subscription.objects.filter(
        workspace_id=workspace_id, ends_at__isnull=True, stripe_id__isnull=False
    ).exists()
