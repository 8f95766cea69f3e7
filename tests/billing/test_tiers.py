"""Tiers: the seed rows, versions, who is on which, and whose daily quota it is."""

import datetime as dt

import pytest
from django.core.management import call_command

from accounts.models import Workspace
from billing.models import LimitOverride, Subscription, Tier
from billing.selectors.tiers import (
    MissingTiersError,
    current_tiers,
    entitlements_of,
    public_tiers,
    subscriptions_of,
)
from billing.services.tiers import (
    PaidSubscriptionError,
    UnknownTierError,
    change_tier,
    ensure_tiers,
    set_limits,
    set_tier,
)
from billing.types import Entitlements
from lumyx.lib import clock
from lumyx.lib.money import usd_to_nano
from tests.factories import make_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace() -> Workspace:
    """A workspace on Free."""
    return make_workspace()


def rights_of(workspace: Workspace) -> Entitlements:
    return entitlements_of(workspace.pk, owner_id=workspace.owner_id)


@pytest.mark.parametrize(
    ("slug", "name", "usd", "daily", "per_minute", "credit"),
    [
        ("free", "Free", "0", 25, 60, "0"),
        ("vip1", "VIP 1", "5", 100, 120, "4"),
        ("vip2", "VIP 2", "15", 300, 300, "13"),
        ("vip3", "VIP 3", "30", 600, 600, "28"),
        ("vip4", "VIP 4", "60", 1000, 1200, "60"),
    ],
)
def test_the_seed_rows(slug: str, name: str, usd: str, daily: int, per_minute: int, credit: str) -> None:
    tier = Tier.objects.get(slug=slug)
    assert (tier.version, tier.name, tier.daily_requests, tier.requests_per_minute) == (1, name, daily, per_minute)
    assert (tier.monthly_price, tier.monthly_credits) == (usd_to_nano(usd), usd_to_nano(credit))


def test_seeding_twice_is_seeding_once() -> None:
    change_tier("free", daily_requests=30)
    ensure_tiers()
    assert Tier.objects.count() == 6
    Tier.objects.filter(slug="vip2").delete()
    ensure_tiers()
    assert [tier.slug for tier in public_tiers()] == ["free", "vip1", "vip2", "vip3", "vip4"]


@pytest.mark.django_db(transaction=True)
def test_a_migration_seeds_the_tiers() -> None:
    Tier.objects.all().delete()
    call_command("migrate", verbosity=0)
    assert Tier.objects.count() == 5


def test_an_edit_is_a_new_version_and_the_old_one_stays(workspace: Workspace) -> None:
    changed = change_tier("free", daily_requests=30, name="Starter")
    assert (changed.version, changed.requests_per_minute) == (2, 60)
    assert Tier.objects.get(slug="free", version=1).daily_requests == 25
    assert (rights_of(workspace).daily_requests, rights_of(workspace).tier_name) == (30, "Starter")
    assert change_tier("free", daily_requests=30).version == 2
    with pytest.raises(UnknownTierError, match="There is no tier 'gold'"):
        change_tier("gold", daily_requests=1)


def test_a_tier_that_is_not_public_is_off_the_price_list() -> None:
    change_tier("vip3", is_public=False)
    assert [tier.slug for tier in public_tiers()] == ["free", "vip1", "vip2", "vip4"]
    assert len(current_tiers()) == 5


def test_a_free_workspace_shares_its_owners_quota(workspace: Workspace) -> None:
    assert rights_of(workspace) == Entitlements("free", "Free", 60, 25, f"u:{workspace.owner_id}")


def test_a_vip_workspace_has_a_quota_of_its_own(workspace: Workspace) -> None:
    set_tier(workspace.pk, tier_slug="vip2")
    assert rights_of(workspace) == Entitlements("vip2", "VIP 2", 300, 300, f"w:{workspace.pk}")
    other = make_workspace(owner=workspace.owner)
    assert rights_of(other).quota_subject == f"u:{workspace.owner_id}"


def test_a_change_of_tier_ends_one_subscription_and_begins_another(workspace: Workspace) -> None:
    for slug in ("vip1", "vip4", "vip4"):
        set_tier(workspace.pk, tier_slug=slug)
    newest, oldest = subscriptions_of(workspace.pk)
    assert (newest.tier_slug, newest.ends_at, newest.source) == ("vip4", None, "operator")
    assert (oldest.tier_slug, oldest.ends_at) == ("vip1", newest.started_at)
    assert rights_of(workspace).tier_slug == "vip4"


def test_back_to_free_leaves_no_open_subscription(workspace: Workspace) -> None:
    set_tier(workspace.pk, tier_slug="vip1")
    set_tier(workspace.pk, tier_slug="free")
    assert not Subscription.objects.filter(workspace=workspace, ends_at__isnull=True).exists()
    assert rights_of(workspace).tier_slug == "free"


def test_a_subscription_ends_by_itself_and_begins_in_its_time(workspace: Workspace) -> None:
    now, hour = clock.now(), dt.timedelta(hours=1)
    Subscription.objects.create(workspace=workspace, tier_slug="vip1", source="x", started_at=now - hour, ends_at=now)
    Subscription.objects.create(workspace=workspace, tier_slug="vip2", source="x", started_at=now + hour)
    assert rights_of(workspace).tier_slug == "free"


def test_an_operators_choice_replaces_a_subscription_that_has_an_end(workspace: Workspace) -> None:
    now, hour = clock.now(), dt.timedelta(hours=1)
    Subscription.objects.create(
        workspace=workspace, tier_slug="vip1", source="x", started_at=now - hour, ends_at=now + hour
    )
    set_tier(workspace.pk, tier_slug="free")
    assert rights_of(workspace).tier_slug == "free"


def paid(workspace: Workspace, **fields: object) -> Subscription:
    """Make a subscription that Stripe knows."""
    start = clock.now() - dt.timedelta(days=40)
    made: dict[str, object] = {"tier_slug": "vip2", "source": "stripe", "stripe_id": "sub_1", "started_at": start}
    return Subscription.objects.create(workspace=workspace, **{**made, **fields})


@pytest.mark.parametrize(("days", "slug"), [(0, "vip2"), (6.99, "vip2"), (7.01, "free")])
def test_an_overdue_payment_keeps_the_limits_for_a_week(workspace: Workspace, days: float, slug: str) -> None:
    paid(workspace, status="past_due", past_due_since=clock.now() - dt.timedelta(days=days))
    assert rights_of(workspace).tier_slug == slug


def test_a_paused_subscription_gives_nothing(workspace: Workspace) -> None:
    paid(workspace, status="paused")
    assert rights_of(workspace).tier_slug == "free"


@pytest.mark.parametrize("slug", ["vip4", "free", "vip2"])
def test_what_is_paid_for_is_not_changed_by_hand(workspace: Workspace, slug: str) -> None:
    row = paid(workspace)
    with pytest.raises(PaidSubscriptionError, match="pays for its plan"):
        set_tier(workspace.pk, tier_slug=slug)
    row.refresh_from_db()
    assert row.ends_at is None
    Subscription.objects.update(ends_at=clock.now())
    set_tier(workspace.pk, tier_slug=slug)
    assert rights_of(workspace).tier_slug == slug


def test_an_unknown_tier_changes_nothing_and_names_the_known(workspace: Workspace) -> None:
    set_tier(workspace.pk, tier_slug="vip1")
    with pytest.raises(UnknownTierError, match="free, vip1, vip2, vip3, vip4"):
        set_tier(workspace.pk, tier_slug="vip9")
    assert rights_of(workspace).tier_slug == "vip1"


def test_operators_limits_stand_over_the_tiers(workspace: Workspace) -> None:
    set_limits(workspace.pk, requests_per_minute=7)
    assert (rights_of(workspace).requests_per_minute, rights_of(workspace).daily_requests) == (7, 25)
    set_limits(workspace.pk, daily_requests=0)
    assert (rights_of(workspace).requests_per_minute, rights_of(workspace).daily_requests) == (7, 0)
    set_limits(workspace.pk, requests_per_minute=None)
    assert (rights_of(workspace).requests_per_minute, rights_of(workspace).daily_requests) == (60, 0)
    set_limits(workspace.pk, daily_requests=None)
    assert rights_of(workspace).daily_requests == 25
    assert not LimitOverride.objects.exists()


def test_a_limit_below_zero_is_refused(workspace: Workspace) -> None:
    with pytest.raises(ValueError, match=r"0 \(unlimited\) or more"):
        set_limits(workspace.pk, requests_per_minute=-1)


def test_limits_of_one_workspace_are_not_anothers(workspace: Workspace) -> None:
    other = make_workspace()
    set_limits(workspace.pk, requests_per_minute=7)
    set_tier(workspace.pk, tier_slug="vip4")
    assert (rights_of(other).requests_per_minute, rights_of(other).tier_slug) == (60, "free")


def test_without_any_tier_the_error_says_what_to_do(workspace: Workspace) -> None:
    Tier.objects.all().delete()
    with pytest.raises(MissingTiersError, match=r"manage\.py migrate"):
        rights_of(workspace)
