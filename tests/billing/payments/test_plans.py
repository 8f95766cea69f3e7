"""People subscribe, change, cancel and fall behind; the tier, its limits and its credit follow what Stripe says."""

import datetime as dt

import pytest

from accounts.models import Workspace
from billing.models import CreditPlan, Invoice, Notice, Payment, StripeEvent, StripePrice, Subscription
from billing.payments import sync
from billing.payments.errors import CardError, PaymentsOffError
from billing.payments.plans import PlanError, cancel_plan, change_plan, preview_change, resume_plan
from billing.periods import month_after
from billing.selectors.grants import credit_left_of
from billing.selectors.ledger import balance_of, entries_of
from billing.selectors.tiers import entitlements_of
from billing.services import ledger, tiers, vip
from lumyx.lib import clock
from lumyx.lib.money import NANO_PER_USD as USD
from tests.billing.builders import admit_one, settle_one
from tests.billing.payments.conftest import Shop, hand_in

pytestmark = pytest.mark.django_db


def tier_of(workspace: Workspace) -> str:
    """Return the tier that a workspace has the rights of now."""
    return entitlements_of(workspace.pk, owner_id=workspace.owner_id).tier_slug


def vip_credit(shop: Shop) -> int:
    """Return the VIP credit that can be spent now."""
    return (balance_of(shop.account.id).by_kind or {}).get("vip", 0)


def started(shop: Shop, tier: str = "vip1", interval: str = "month", *, days_ago: float = 0) -> Subscription:
    """Subscribe some days ago, with everything delivered."""
    if days_ago:
        shop.fake.advance_to(clock.now() - dt.timedelta(days=days_ago))
    shop.subscribe(tier, interval)
    hand_in(shop.fake.events())
    return Subscription.objects.get(ends_at__isnull=True)


def catch_up(shop: Shop) -> None:
    """Let Stripe's time be now, and deliver what happened."""
    shop.fake.advance_to(clock.now())
    hand_in(shop.fake.events())
    assert set(StripeEvent.objects.values_list("state", flat=True)) <= {"done", "ignored"}


def test_sync_makes_what_is_sold_once(shop: Shop) -> None:
    first = sync.sync()
    assert [each.is_new for each in first] == [True] * 9
    assert [each.is_new for each in sync.sync()] == [False] * 9
    assert StripePrice.objects.count() == 8
    tiers.change_tier("vip1", monthly_price=6 * USD)
    again = {each.what: each.is_new for each in sync.sync()}
    assert again["VIP 1 by the month"]
    assert again["VIP 1 by the year"], "a price belongs to a version of a tier"
    assert not again["VIP 2 by the month"]
    (price,) = shop.api().prices.list({"lookup_keys": ["lumyx_vip1_month"]}).data
    assert price.unit_amount == 600
    assert len({row.product for row in shop.api().prices.list({"limit": 100}).data}) == 4


def test_sync_on_a_new_database_finds_the_prices_that_are_there(shop: Shop) -> None:
    sync.sync()
    ids = set(StripePrice.objects.values_list("stripe_id", flat=True))
    StripePrice.objects.all().delete()
    assert not any(each.is_new for each in sync.sync())
    assert set(StripePrice.objects.values_list("stripe_id", flat=True)) == ids


def test_a_subscription_is_the_tier_its_limit_and_its_credit(plan_shop: Shop) -> None:
    shop = plan_shop
    session = shop.subscribe("vip2")
    assert tier_of(shop.account.workspace) == "free"
    hand_in(shop.fake.events())
    rights = entitlements_of(shop.account.id, owner_id=shop.account.workspace.owner_id)
    assert (rights.tier_slug, rights.daily_requests) == ("vip2", 300)
    assert vip_credit(shop) == 13 * USD
    row = Subscription.objects.get()
    assert (row.stripe_id, row.status, row.interval) == (session, "active", "month")
    (left,) = credit_left_of(shop.account.id)
    assert left.expires_at is not None
    assert row.period_ends_at is not None
    assert left.expires_at == row.period_ends_at + dt.timedelta(hours=2)
    invoice = Invoice.objects.get()
    assert (invoice.status, invoice.total) == ("paid", 15 * USD)
    payment = Payment.objects.get()
    assert (payment.invoice_id, payment.amount, payment.order) == (invoice.pk, 15 * USD, None)
    assert Notice.objects.filter(kind="subscription_started").count() == 1
    assert not Notice.objects.filter(kind="receipt").exists()


def test_who_pays_for_a_plan_cannot_subscribe_again(plan_shop: Shop) -> None:
    started(plan_shop)
    with pytest.raises(PlanError, match="Change it"):
        plan_shop.subscribe("vip2")


@pytest.mark.parametrize(("tier", "interval"), [("free", "month"), ("vip9", "month"), ("vip1", "week")])
def test_what_is_not_sold_cannot_be_subscribed_to(plan_shop: Shop, tier: str, interval: str) -> None:
    with pytest.raises(PlanError, match="no such plan"):
        plan_shop.subscribe(tier, interval)


def test_a_tier_that_was_not_synced_says_what_is_missing(shop: Shop) -> None:
    with pytest.raises(PlanError, match="stripe sync"):
        shop.subscribe()


def test_without_keys_nobody_subscribes(plan_shop: Shop, settings: object) -> None:
    settings.STRIPE_SECRET_KEY = ""  # type: ignore[attr-defined]
    with pytest.raises(PaymentsOffError):
        plan_shop.subscribe()


def test_a_second_tab_does_not_become_a_second_plan(plan_shop: Shop) -> None:
    first = plan_shop.open_checkout("vip1")
    plan_shop.open_checkout("vip2")
    assert plan_shop.api().checkout.sessions.retrieve(first).status == "expired"


def test_a_comped_tier_ends_where_a_paid_one_begins(plan_shop: Shop) -> None:
    tiers.set_tier(plan_shop.account.id, tier_slug="vip4")
    started(plan_shop, "vip1")
    assert tier_of(plan_shop.account.workspace) == "vip1"
    assert Subscription.objects.filter(ends_at__isnull=True).count() == 1


def test_a_renewal_gives_the_next_month_and_ends_the_one_before(plan_shop: Shop) -> None:
    shop = plan_shop
    started(shop, "vip1", days_ago=40)
    assert vip_credit(shop) == 0, "the first month is over"
    catch_up(shop)
    assert vip_credit(shop) == 4 * USD
    ledger.sweep_grants()
    kinds = [(line.kind, line.amount) for line in entries_of(shop.account.id, limit=10)]
    assert kinds.count(("grant", 4 * USD)) == 2
    assert ("expire", -4 * USD) in kinds
    assert Notice.objects.filter(kind="subscription_renewed").count() == 0, "it was ten days ago"


def test_an_upgrade_is_paid_now_and_gives_the_difference(plan_shop: Shop) -> None:
    shop = plan_shop
    started(shop, "vip1", days_ago=10)
    shop.fake.advance_to(clock.now())
    preview = preview_change(shop.account.id, tier_slug="vip2", interval="month")
    assert preview.is_upgrade
    assert 0 < preview.due_now < 10 * USD
    assert tier_of(shop.account.workspace) == "vip1"
    assert change_plan(shop.account.id, tier_slug="vip2", interval="month").due_now == pytest.approx(
        preview.due_now, abs=USD // 50
    )
    assert tier_of(shop.account.workspace) == "vip2"
    assert vip_credit(shop) == pytest.approx(4 * USD + preview.credit_now, abs=USD // 50)
    assert preview.credit_now == pytest.approx(9 * USD * 20 / 30, rel=0.05)
    catch_up(shop)
    assert Payment.objects.count() == 2
    assert vip_credit(shop) == pytest.approx(4 * USD + preview.credit_now, abs=USD // 50)


def test_an_upgrade_that_is_over_when_it_is_heard_of_repays_no_debt(plan_shop: Shop) -> None:
    shop, account = plan_shop, plan_shop.account
    shop.fake.advance_to(clock.now() - dt.timedelta(days=90))
    subscription = shop.subscribe("vip1")
    item = shop.api().subscriptions.retrieve(subscription)["items"]["data"][0]["id"]
    price = StripePrice.objects.get(tier_slug="vip2", interval="month").stripe_id
    shop.api().subscriptions.update(
        subscription, {"items": [{"id": item, "price": price}], "proration_behavior": "always_invoice"}
    )
    shop.api().subscriptions.cancel(subscription)
    source = account.fund(5 * USD)
    request = account.request(5 * USD)
    admit_one(request)
    settle_one(request, 5 * USD)
    ledger.clawback(workspace_id=account.id, grant_source=source, source="refund")
    catch_up(shop)
    assert {line.grant_source for line in entries_of(account.id, limit=99) if line.grant_source.endswith(":change")}
    assert balance_of(account.id).by_kind == {"overdraft": -5 * USD}


def test_an_upgrade_with_a_failing_card_changes_nothing(plan_shop: Shop) -> None:
    shop = plan_shop
    row = started(shop, "vip1", days_ago=10)
    shop.fake.advance_to(clock.now())
    customer = shop.api().subscriptions.retrieve(row.stripe_id).customer
    shop.fake.set_card(customer, "decline")
    with pytest.raises(CardError, match="declined"):
        change_plan(shop.account.id, tier_slug="vip3", interval="month")
    catch_up(shop)
    assert tier_of(shop.account.workspace) == "vip1"
    assert vip_credit(shop) == 4 * USD
    shop.fake.set_card(customer, "succeed")
    change_plan(shop.account.id, tier_slug="vip3", interval="month")
    assert tier_of(shop.account.workspace) == "vip3"


def test_a_downgrade_comes_at_the_end_of_what_is_paid(plan_shop: Shop) -> None:
    shop = plan_shop
    row = started(shop, "vip3", days_ago=20)
    shop.fake.advance_to(clock.now() - dt.timedelta(days=19))
    preview = change_plan(shop.account.id, tier_slug="vip1", interval="month")
    row.refresh_from_db()
    assert (preview.is_upgrade, preview.due_now, preview.at) == (False, 0, row.period_ends_at)
    assert (row.tier_slug, row.next_tier_slug, row.next_interval) == ("vip3", "vip1", "month")
    assert vip_credit(shop) == 28 * USD


def test_a_downgrade_is_there_after_the_renewal(plan_shop: Shop) -> None:
    shop = plan_shop
    row = started(shop, "vip3", days_ago=40)
    change_plan(shop.account.id, tier_slug="vip1", interval="month")
    catch_up(shop)
    row.refresh_from_db()
    assert (row.tier_slug, row.next_tier_slug) == ("vip1", "")
    assert vip_credit(shop) == 4 * USD


def test_a_planned_downgrade_can_be_taken_back(plan_shop: Shop) -> None:
    shop = plan_shop
    row = started(shop, "vip3", days_ago=40)
    change_plan(shop.account.id, tier_slug="vip1", interval="month")
    resume_plan(shop.account.id)
    row.refresh_from_db()
    assert row.next_tier_slug == ""
    catch_up(shop)
    row.refresh_from_db()
    assert row.tier_slug == "vip3"


def test_a_cancelled_plan_lasts_until_what_is_paid_is_over(plan_shop: Shop) -> None:
    shop = plan_shop
    row = started(shop, "vip1", days_ago=40)
    assert cancel_plan(shop.account.id) == row.period_ends_at
    assert cancel_plan(shop.account.id) == row.period_ends_at
    row.refresh_from_db()
    assert row.cancels_at == row.period_ends_at
    catch_up(shop)
    row.refresh_from_db()
    assert row.ends_at == row.period_ends_at
    assert tier_of(shop.account.workspace) == "free"
    assert Invoice.objects.count() == 1
    with pytest.raises(PlanError, match="pays for no plan"):
        resume_plan(shop.account.id)


def test_a_cancellation_can_be_taken_back(plan_shop: Shop) -> None:
    shop = plan_shop
    row = started(shop, "vip1", days_ago=40)
    cancel_plan(shop.account.id)
    resume_plan(shop.account.id)
    catch_up(shop)
    row.refresh_from_db()
    assert (row.cancels_at, row.ends_at) == (None, None)
    assert vip_credit(shop) == 4 * USD


def test_a_failed_renewal_keeps_the_limits_for_a_week_and_gives_no_credit(plan_shop: Shop) -> None:
    shop = plan_shop
    row = started(shop, "vip1", days_ago=33)
    customer = shop.api().subscriptions.retrieve(row.stripe_id).customer
    shop.fake.set_card(customer, "decline")
    catch_up(shop)
    row.refresh_from_db()
    assert row.status == "past_due"
    assert row.past_due_since is not None
    assert row.past_due_since == month_after(row.started_at, 1)
    assert tier_of(shop.account.workspace) == "vip1"
    assert vip_credit(shop) == 0
    assert Notice.objects.filter(kind="subscription_past_due").count() == 1
    with pytest.raises(PlanError, match="overdue"):
        change_plan(shop.account.id, tier_slug="vip2", interval="month")
    invoice = Invoice.objects.get(status="open")
    shop.fake.pay_invoice(invoice.pk)
    catch_up(shop)
    row.refresh_from_db()
    assert row.status == "active"
    assert row.past_due_since is None
    assert vip_credit(shop) == 4 * USD


def test_when_every_retry_failed_the_tier_is_over(plan_shop: Shop) -> None:
    shop = plan_shop
    row = started(shop, "vip1", days_ago=60)
    customer = shop.api().subscriptions.retrieve(row.stripe_id).customer
    shop.fake.set_card(customer, "decline")
    catch_up(shop)
    row.refresh_from_db()
    assert row.ends_at is not None
    assert tier_of(shop.account.workspace) == "free"


def test_a_bank_that_asks_is_told_of_with_the_page_to_confirm(plan_shop: Shop) -> None:
    shop = plan_shop
    row = started(shop, "vip1", days_ago=32)
    customer = shop.api().subscriptions.retrieve(row.stripe_id).customer
    shop.fake.set_card(customer, "authenticate")
    catch_up(shop)
    notice = Notice.objects.get(kind="payment_action_needed")
    assert notice.facts["url"].startswith("http")


def test_a_year_is_paid_once_and_credited_by_the_month(plan_shop: Shop) -> None:
    shop = plan_shop
    row = started(shop, "vip1", "year", days_ago=100)
    assert vip_credit(shop) == 4 * USD
    grants = [line for line in entries_of(shop.account.id, limit=20) if line.kind == "grant"]
    assert len(grants) == 4
    assert vip.refresh() == 0
    assert row.period_ends_at == month_after(row.started_at, 12)
    catch_up(shop)
    assert vip_credit(shop) == 4 * USD


def test_a_refunded_year_gives_no_more_and_loses_what_it_gave(plan_shop: Shop) -> None:
    shop = plan_shop
    started(shop, "vip1", "year", days_ago=20)
    payment = Payment.objects.get()
    shop.refund(payment.pk)
    hand_in(shop.fake.events())
    assert balance_of(shop.account.id).posted == 0
    plan = CreditPlan.objects.get()
    CreditPlan.objects.update(
        anchor_at=plan.anchor_at - dt.timedelta(days=31), starts_at=plan.starts_at - dt.timedelta(days=31)
    )
    assert vip.refresh() == 1
    assert balance_of(shop.account.id).posted == 0, "the next month goes back as the first did"


def test_half_a_year_refunded_halves_the_months_to_come(plan_shop: Shop) -> None:
    shop = plan_shop
    started(shop, "vip1", "year", days_ago=20)
    shop.refund(Payment.objects.get().pk, 25)
    hand_in(shop.fake.events())
    assert vip_credit(shop) == 2 * USD
    plan = CreditPlan.objects.get()
    CreditPlan.objects.update(
        anchor_at=plan.anchor_at - dt.timedelta(days=31), starts_at=plan.starts_at - dt.timedelta(days=31)
    )
    assert vip.refresh() == 1
    assert vip_credit(shop) == 2 * USD + 2 * USD


def test_from_the_month_to_the_year_the_month_is_not_given_twice(plan_shop: Shop) -> None:
    shop = plan_shop
    started(shop, "vip2", days_ago=5)
    shop.fake.advance_to(clock.now() - dt.timedelta(days=5))
    preview = change_plan(shop.account.id, tier_slug="vip2", interval="year")
    assert preview.is_upgrade
    hand_in(shop.fake.events())
    assert vip_credit(shop) == pytest.approx(13 * USD, abs=USD // 10)
    row = Subscription.objects.get()
    assert (row.interval, row.tier_slug) == ("year", "vip2")


def test_a_dearer_year_gives_the_rest_of_the_months_difference(plan_shop: Shop) -> None:
    shop = plan_shop
    started(shop, "vip1", "year", days_ago=45)
    shop.fake.advance_to(clock.now())
    preview = change_plan(shop.account.id, tier_slug="vip2", interval="year")
    hand_in(shop.fake.events())
    old, new = CreditPlan.objects.order_by("starts_at")
    assert old.ends_at == new.starts_at
    assert vip_credit(shop) == 4 * USD + preview.credit_now
    assert 0 < preview.credit_now < 9 * USD


def test_two_paid_plans_wait_for_an_operator(plan_shop: Shop) -> None:
    shop = plan_shop
    started(shop)
    Subscription.objects.update(stripe_id="sub_another")
    hand_in(shop.fake.events())
    StripeEvent.objects.all().delete()
    hand_in(shop.fake.events())
    failed = StripeEvent.objects.filter(state="failed")
    assert failed.exists()
    assert "pays for sub_another already" in failed[0].error
