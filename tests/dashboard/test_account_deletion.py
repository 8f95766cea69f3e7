"""Deleting an account: what is asked, what becomes of workspaces, keys, plans and credit, and what is left of the person."""

import datetime as dt

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.core import mail
from django.test import Client
from pytest_django import Settings

from accounts.models import ApiKey, AuditEntry, Membership, User, Workspace
from accounts.selectors.principals import principal_row
from accounts.services.apikeys import create_api_key
from accounts.services.closing import plan_deletion
from accounts.services.management_keys import create_management_key
from accounts.services.workspaces import suspend_workspace
from billing.models import AutoTopUp, LedgerEntry, Notice
from billing.payments import stripe_api
from billing.selectors.ledger import balance_of
from billing.selectors.top_up import workspaces_below
from dashboard.flows.account import DeletionError, delete_account, owned_by
from lumyx.lib import clock
from rig.stripe.server import FakeStripe
from tests.accounts.signing import is_signed_in, proved, signed_in, with_app
from tests.billing.payments.conftest import hand_in
from tests.dashboard.test_plan import on as subscribe
from tests.factories import PASSWORD, Cast, fund, make_cast, make_user, make_workspace

pytestmark = pytest.mark.django_db

DECIDE, CONFIRM = "/dashboard/account/delete", "/dashboard/account/delete/confirm"


@pytest.fixture
def cast() -> Cast:
    """Return Alice, Bob, Charlie and their workspaces."""
    return make_cast()


def decide(client: Client, user: User, **fates: str) -> object:
    """Send the first page: what becomes of each workspace, by its slug."""
    fields = {f"workspace-{Workspace.objects.get(slug=slug).pk}": fate for slug, fate in fates.items()}
    return client.post(DECIDE, {"email": user.email, **fields})


def test_it_is_asked_for_the_typed_address_and_each_workspaces_fate(cast: Cast) -> None:
    fund(cast.workspace, "12.5")
    client = proved(cast.alice)
    page = client.get(DECIDE)
    assert "$12.50" in page.text
    assert "refund" in page.text
    assert f"Hand it over to Bob ({cast.bob.email})" in page.text
    nothing = client.post(DECIDE, {"email": "bob@example.com"})
    assert nothing.status_code == 422
    assert "not the address of this account" in nothing.text
    assert "Choose what becomes of this workspace" in nothing.text
    stranger = client.post(DECIDE, {"email": cast.alice.email, f"workspace-{cast.workspace.pk}": str(cast.charlie.pk)})
    assert stranger.status_code == 422
    assert client.get(CONFIRM)["Location"] == DECIDE
    assert User.objects.get(pk=cast.alice.pk).is_active
    assert mail.outbox == []


def test_closing_ends_the_workspace_and_the_person_and_keeps_the_books(cast: Cast) -> None:
    fund(cast.workspace, "12.5")
    keys = [create_api_key(workspace=cast.workspace, name="x", created_by=user) for user in (cast.alice, cast.bob)]
    operators = create_api_key(workspace=cast.workspace, name="operator's")
    management = create_management_key(workspace=cast.workspace, name="x", created_by=cast.alice)
    client, elsewhere = proved(cast.alice), signed_in(cast.alice)
    with_app(client)
    written = LedgerEntry.objects.count()

    assert decide(client, cast.alice, **{cast.workspace.slug: "delete"})["Location"] == CONFIRM  # type: ignore[index]
    before = mail.outbox[-1]
    assert (before.to, before.subject) == (["alice@example.com"], "Your account is about to be deleted")
    assert "$12.50" in str(before.body)
    assert User.objects.get(pk=cast.alice.pk).is_active
    assert "is deleted" in client.get(CONFIRM).text

    assert client.post(CONFIRM)["Location"] == "/dashboard/account/deleted"
    after = mail.outbox[-1]
    assert (after.to, after.subject) == (["alice@example.com"], "Your account was deleted")
    assert f"alices-lab (number {cast.workspace.pk})" in str(after.body)
    assert "Your account is deleted" in client.get("/dashboard/account/deleted").text
    assert not is_signed_in(client)
    assert not is_signed_in(elsewhere)

    gone = User.objects.get(pk=cast.alice.pk)
    assert (gone.email, gone.name, gone.is_active) == (f"deleted-{gone.pk}@deleted.invalid", "Deleted user", False)
    assert not gone.has_usable_password()
    for rows in (EmailAddress.objects, Authenticator.objects, UserSession.objects):
        assert not rows.filter(user_id=gone.pk).exists()
    assert Client().post("/login", {"login": "alice@example.com", "password": PASSWORD}).status_code == 200
    cast.workspace.refresh_from_db()
    assert cast.workspace.is_suspended
    assert cast.workspace.deleted_at is not None
    assert not Membership.objects.filter(workspace=cast.workspace).exists()
    management.row.refresh_from_db()
    assert management.row.revoked_at is not None
    for key in (*keys, operators):
        row = principal_row(bytes(key.row.digest))
        assert row is not None
        assert row.revoked
    assert LedgerEntry.objects.count() == written
    assert balance_of(cast.workspace.pk).posted == 12_500_000_000
    actions = list(AuditEntry.objects.filter(actor_id=gone.pk).values_list("action", flat=True))
    assert {"account.deleted", "workspace.deletion_planned", "workspace.deleted", "api_key.revoked"} <= set(actions)
    assert actions.count("account.deleted") == 1
    told = Notice.objects.get(kind="workspace_deleted")
    assert told.facts == {"person": cast.bob.pk, "called": "Alice's lab"}


def test_the_address_is_free_again_for_somebody_new(cast: Cast) -> None:
    delete_account(cast.charlie, fate={cast.other_workspace.pk: None})
    assert make_user("charlie@example.com").pk != cast.charlie.pk


def test_handing_over_makes_the_member_the_owner_and_keeps_their_keys(cast: Cast) -> None:
    fund(cast.workspace, "3")
    own = create_api_key(workspace=cast.workspace, name="x", created_by=cast.alice)
    bobs = create_api_key(workspace=cast.workspace, name="y", created_by=cast.bob)
    client = proved(cast.alice)
    decide(client, cast.alice, **{cast.workspace.slug: str(cast.bob.pk)})
    assert "is handed over to" in client.get(CONFIRM).text
    client.post(CONFIRM)
    cast.workspace.refresh_from_db()
    assert (cast.workspace.owner, cast.workspace.is_suspended) == (cast.bob, False)
    assert list(Membership.objects.filter(workspace=cast.workspace).values_list("user", "role")) == [
        (cast.bob.pk, "owner")
    ]
    told = Notice.objects.get(kind="ownership_transferred")
    assert told.facts["person"] == cast.bob.pk
    revoked = {row.pk: row.revoked_at is not None for row in ApiKey.objects.all()}
    assert revoked == {own.row.pk: True, bobs.row.pk: False}
    assert balance_of(cast.workspace.pk).posted == 3_000_000_000
    assert AuditEntry.objects.filter(action="workspace.ownership_transferred", actor_id=cast.alice.pk).exists()


def test_a_member_leaves_the_workspaces_of_others(cast: Cast) -> None:
    Membership.objects.filter(user=cast.bob).update(role="admin")
    key = create_api_key(workspace=cast.workspace, name="x", created_by=cast.bob)
    management = create_management_key(workspace=cast.workspace, name="y", created_by=cast.bob)
    delete_account(cast.bob, fate={})
    management.row.refresh_from_db()
    assert management.row.revoked_at is not None
    assert not Membership.objects.filter(user=cast.bob).exists()
    row = principal_row(bytes(key.row.digest))
    assert row is not None
    assert row.revoked
    cast.workspace.refresh_from_db()
    assert not cast.workspace.is_suspended
    assert AuditEntry.objects.filter(action="member.left", workspace_id=cast.workspace.pk).exists()


def test_what_was_decided_holds_only_for_what_is_still_so(cast: Cast) -> None:
    client = proved(cast.alice)
    decide(client, cast.alice, **{cast.workspace.slug: str(cast.bob.pk)})
    cast.bob.is_active = False
    cast.bob.save()
    refused = client.post(CONFIRM)
    assert refused.status_code == 409
    assert "has left it. Choose again" in refused.text
    make_workspace("Another", owner=cast.alice)
    assert "have changed in the meantime" in client.post(CONFIRM).text
    assert User.objects.get(pk=cast.alice.pk).is_active
    assert is_signed_in(client)


def test_a_decision_lasts_half_an_hour(cast: Cast) -> None:
    client = proved(cast.alice)
    decide(client, cast.alice, **{cast.workspace.slug: "delete"})
    session = client.session
    session["account_deletion"] = {**session["account_deletion"], "at": session["account_deletion"]["at"] - 1801}
    session.save()
    assert client.post(CONFIRM)["Location"] == DECIDE
    assert User.objects.get(pk=cast.alice.pk).is_active


def test_a_paid_plan_is_cancelled_at_stripe_first_and_if_that_fails_nothing_happens(
    cast: Cast, plans_for_sale: FakeStripe, settings: Settings
) -> None:
    client = proved(cast.alice)
    plan = subscribe(cast, plans_for_sale, client)
    AutoTopUp.objects.create(
        workspace=cast.workspace, is_on=True, threshold=10**15, amount=10**10, monthly_ceiling=10**11
    )
    assert cast.workspace.pk in workspaces_below()
    decide(client, cast.alice, **{cast.workspace.slug: "delete"})
    assert "its plan is cancelled" in client.get(CONFIRM).text
    where, settings.STRIPE_API_BASE = settings.STRIPE_API_BASE, "http://127.0.0.1:1"
    refused = client.post(CONFIRM)
    assert refused.status_code == 409
    assert "Nothing was deleted" in refused.text
    cast.workspace.refresh_from_db()
    assert not cast.workspace.is_suspended
    assert User.objects.get(pk=cast.alice.pk).is_active

    settings.STRIPE_API_BASE = where
    assert client.post(CONFIRM).status_code == 302
    at_stripe = stripe_api.client().v1.subscriptions.retrieve(str(plan.stripe_id))
    assert at_stripe.cancel_at_period_end
    plan.refresh_from_db()
    assert plan.cancels_at is not None
    assert cast.workspace.pk not in workspaces_below()
    # The period ends: Stripe takes nothing more, and what it tells is booked for the number that is left.
    charged = len(stripe_api.client().v1.invoices.list(params={"status": "paid"}).data)
    plans_for_sale.advance_to(clock.now() + dt.timedelta(days=60))
    hand_in(plans_for_sale.events())
    assert len(stripe_api.client().v1.invoices.list(params={"status": "paid"}).data) == charged
    plan.refresh_from_db()
    assert plan.ends_at is not None


def test_a_workspace_that_waits_for_its_deletion_is_deleted_with_its_owner_and_goes_to_nobody(cast: Cast) -> None:
    plan_deletion(cast.workspace.pk, by=cast.alice)
    (each,) = owned_by(cast.alice)
    assert each.successors == []
    delete_account(cast.alice, fate={cast.workspace.pk: None})
    cast.workspace.refresh_from_db()
    assert cast.workspace.deleted_at is not None


def test_only_who_may_own_a_workspace_is_offered_it(cast: Cast) -> None:
    User.objects.filter(pk=cast.bob.pk).update(email_verified_at=None)
    (each,) = owned_by(cast.alice)
    assert each.successors == []
    with pytest.raises(DeletionError):
        delete_account(cast.alice, fate={cast.workspace.pk: cast.bob.pk})


def test_an_operators_suspension_stays_in_the_log(cast: Cast) -> None:
    suspend_workspace(cast.other_workspace.pk, reason="abuse")
    delete_account(cast.charlie, fate={cast.other_workspace.pk: None})
    cast.other_workspace.refresh_from_db()
    assert cast.other_workspace.is_suspended
    assert AuditEntry.objects.get(action="workspace.suspended").details == {"reason": "abuse"}


def test_operators_are_not_deleted_here(cast: Cast) -> None:
    cast.alice.is_staff = True
    cast.alice.save()
    client = proved(cast.alice)
    assert client.get(DECIDE).status_code == 403
    assert client.post(CONFIRM)["Location"] == DECIDE
    with pytest.raises(DeletionError):
        delete_account(cast.alice, fate={each.workspace.pk: None for each in owned_by(cast.alice)})


def test_whoever_can_only_sign_in_by_code_signs_in_again_first(cast: Cast) -> None:
    cast.bob.set_unusable_password()
    cast.bob.save()
    client = Client()
    client.force_login(cast.bob)
    page = client.get(DECIDE)
    assert page.status_code == 403
    assert "Sign in again first" in page.text
    assert client.post("/accounts/logout/", {"next": f"/login?next={DECIDE}"})["Location"] == f"/login?next={DECIDE}"
    client.post("/accounts/login/code/", {"email": cast.bob.email})
    code = str(mail.outbox[-1].body).split("\n\n")[1].strip()
    client.post("/accounts/login/code/confirm/", {"code": code})
    assert client.get(DECIDE).status_code == 200
