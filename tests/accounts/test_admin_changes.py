"""What operators change in the admin: through the services, within their permissions, and never the books."""

from allauth.account.models import EmailAddress
from django.contrib import admin
from django.test import Client

from accounts.models import ApiKey, Membership, User, Workspace
from accounts.services.apikeys import NewApiKey
from accounts.services.users import create_user
from accounts.services.workspaces import suspend_workspace
from billing.models import LimitOverride, Subscription, Tier
from billing.selectors.tiers import entitlements_of
from tests.accounts.admin_pages import act, page_of, staff
from tests.factories import Cast, make_user


def test_suspending_and_resuming_a_workspace(operator: Client, cast: Cast) -> None:
    act(operator, Workspace, "suspend", cast.workspace)
    cast.workspace.refresh_from_db()
    assert cast.workspace.is_suspended
    assert "op@example.com" in cast.workspace.suspension_reason
    act(operator, Workspace, "resume", cast.workspace)
    cast.workspace.refresh_from_db()
    assert not cast.workspace.is_suspended


def test_staff_who_may_only_look_have_no_actions(furnished: Cast, key: NewApiKey) -> None:
    client = staff("accounts.view_workspace", "accounts.view_apikey", "accounts.view_user", "billing.view_subscription")
    for model, action, row in (
        (Workspace, "suspend", furnished.workspace),
        (ApiKey, "revoke", key.row),
        (User, "deactivate", furnished.bob),
        (Subscription, "end", Subscription.objects.get()),
    ):
        assert f'value="{action}"' not in client.get(page_of(model, "changelist")).text
        client.post(page_of(model, "changelist"), {"action": action, "_selected_action": [row.pk]})
    furnished.workspace.refresh_from_db()
    key.row.refresh_from_db()
    furnished.bob.refresh_from_db()
    assert not furnished.workspace.is_suspended
    assert key.row.state == "active"
    assert furnished.bob.is_active
    assert Subscription.objects.get().ends_at is None


def test_revoking_keys(operator: Client, key: NewApiKey) -> None:
    act(operator, ApiKey, "revoke", key.row)
    key.row.refresh_from_db()
    assert key.row.state == "revoked"


def test_a_key_can_be_revoked_but_not_edited_or_deleted(operator: Client, key: NewApiKey) -> None:
    for path in (page_of(ApiKey, "add"), page_of(ApiKey, "change", key.row.pk), page_of(ApiKey, "delete", key.row.pk)):
        assert operator.post(path, {"name": "x", "post": "yes"}).status_code == 403
    assert ApiKey.objects.get().name == "CI"


def test_shutting_out_and_letting_in(operator: Client, cast: Cast, key: NewApiKey) -> None:
    act(operator, User, "deactivate", cast.bob)
    cast.bob.refresh_from_db()
    key.row.refresh_from_db()
    assert not cast.bob.is_active
    assert key.row.state == "revoked"
    act(operator, User, "activate", cast.bob)
    cast.bob.refresh_from_db()
    assert cast.bob.is_active


def test_an_operator_cannot_shut_themselves_out(operator: Client) -> None:
    act(operator, User, "deactivate", User.objects.get(email="op@example.com"))
    assert User.objects.get(email="op@example.com").is_active


def test_vouching_for_an_address(operator: Client) -> None:
    user = make_user(verified=False)
    act(operator, User, "verify_email", user)
    user.refresh_from_db()
    assert user.email_is_verified


def test_a_user_is_made_normalised_and_without_a_password(operator: Client) -> None:
    data = {"email": "New@Example.com", "name": "New", "verified": "on"}
    assert operator.post(page_of(User, "add"), data).status_code == 302
    user = User.objects.get(email="new@example.com")
    assert user.email_is_verified
    assert not user.has_usable_password()
    assert EmailAddress.objects.get(user=user).primary
    assert "exists already" in operator.post(page_of(User, "add"), data).text


def test_staff_cannot_give_themselves_powers_nor_touch_a_superuser(cast: Cast) -> None:
    boss = create_user("boss@example.com", is_operator=True)
    client = staff("accounts.view_user", "accounts.change_user")
    powers = {"name": "x", "is_staff": "on", "is_superuser": "on"}
    assert client.post(page_of(User, "change", cast.bob.pk), powers).status_code == 302
    cast.bob.refresh_from_db()
    assert (cast.bob.name, cast.bob.is_staff, cast.bob.is_superuser) == ("x", False, False)
    assert client.post(page_of(User, "change", boss.pk), powers).status_code == 403
    act(client, User, "deactivate", boss)
    boss.refresh_from_db()
    assert (boss.name, boss.is_active) == ("", True)


def test_a_superuser_hands_out_powers(operator: Client, cast: Cast) -> None:
    data = {"name": "Bob", "is_staff": "on", "emailaddress_set-TOTAL_FORMS": "0", "emailaddress_set-INITIAL_FORMS": "0"}
    assert operator.post(page_of(User, "change", cast.bob.pk), data).status_code == 302
    cast.bob.refresh_from_db()
    assert (cast.bob.is_staff, cast.bob.is_superuser) == (True, False)


def test_people_and_workspaces_cannot_be_deleted(operator: Client, cast: Cast) -> None:
    for row in (cast.bob, cast.workspace):
        assert operator.post(page_of(type(row), "delete", row.pk), {"post": "yes"}).status_code == 403
    assert User.objects.filter(pk=cast.bob.pk).exists()


def test_a_workspace_is_made_with_its_owner(operator: Client) -> None:
    owner = make_user()
    assert operator.post(page_of(Workspace, "add"), {"name": " Lab ", "owner": owner.pk}).status_code == 302
    workspace = Workspace.objects.get()
    assert (workspace.name, workspace.slug, workspace.owner) == ("Lab", "lab", owner)
    assert Membership.objects.get().role == "owner"
    assert "printable" in operator.post(page_of(Workspace, "add"), {"name": "a\tb", "owner": owner.pk}).text


def members_form(workspace: Workspace, *rows: dict[str, object], initial: int) -> dict[str, object]:
    """Return a workspace page's form with these members."""
    data: dict[str, object] = {
        "name": workspace.name,
        "memberships-TOTAL_FORMS": len(rows),
        "memberships-INITIAL_FORMS": initial,
        "policy_acceptances-TOTAL_FORMS": 0,
        "policy_acceptances-INITIAL_FORMS": 0,
    }
    for number, row in enumerate(rows):
        data |= {f"memberships-{number}-{field}": value for field, value in row.items()}
    return data


def test_members_are_added_changed_and_removed_through_the_services(
    operator: Client, cast: Cast, key: NewApiKey
) -> None:
    path = page_of(Workspace, "change", cast.workspace.pk)
    bobs = Membership.objects.get(workspace=cast.workspace, user=cast.bob)
    vera = make_user("vera@example.com")
    kept = {"id": bobs.pk, "workspace": cast.workspace.pk, "user": cast.bob.pk, "role": "viewer"}
    added = {"id": "", "workspace": cast.workspace.pk, "user": vera.pk, "role": "admin"}
    assert operator.post(path, members_form(cast.workspace, kept, added, initial=1)).status_code == 302
    roles = dict(Membership.objects.filter(workspace=cast.workspace).values_list("user__email", "role"))
    assert roles == {"alice@example.com": "owner", "bob@example.com": "viewer", "vera@example.com": "admin"}
    key.row.refresh_from_db()
    assert key.row.state == "revoked"

    removed = {**kept, "DELETE": "on"}
    assert operator.post(path, members_form(cast.workspace, removed, initial=1)).status_code == 302
    assert not Membership.objects.filter(workspace=cast.workspace, user=cast.bob).exists()


def test_the_owner_cannot_be_doubled_or_demoted_in_the_admin(operator: Client, cast: Cast) -> None:
    path = page_of(Workspace, "change", cast.workspace.pk)
    for user, role in ((cast.charlie, "owner"), (cast.alice, "viewer")):
        row = {"id": "", "workspace": cast.workspace.pk, "user": user.pk, "role": role}
        operator.post(path, members_form(cast.workspace, row, initial=0))
    roles = dict(Membership.objects.filter(workspace=cast.workspace).values_list("user__email", "role"))
    assert roles == {"alice@example.com": "owner", "bob@example.com": "developer"}


def test_saving_a_tier_writes_a_new_version_and_keeps_the_old(operator: Client, cast: Cast) -> None:
    first = Tier.objects.get(slug="vip1")
    data = {
        "name": "VIP One", "monthly_price_usd": "7.5", "yearly_price_usd": "75", "monthly_credits_usd": "6",
        "daily_requests": "150", "requests_per_minute": "0", "is_public": "on",
    }  # fmt: skip
    assert operator.post(page_of(Tier, "change", first.pk), data).status_code == 302
    second = Tier.objects.get(slug="vip1", version=2)
    assert (second.name, second.monthly_price, second.daily_requests) == ("VIP One", 7_500_000_000, 150)
    assert second.yearly_price == 75_000_000_000
    first.refresh_from_db()
    assert (first.version, first.name) == (1, "VIP 1")
    assert operator.post(page_of(Tier, "change", first.pk), data).status_code == 403
    assert operator.get(page_of(Tier, "change", first.pk)).status_code == 200
    assert operator.post(page_of(Tier, "delete", second.pk), {"post": "yes"}).status_code == 403


def test_a_tiers_amounts_must_be_amounts(operator: Client) -> None:
    tier = Tier.objects.get(slug="vip1")
    for wrong in ("-1", "NaN", "1e400", "0.0000000001", ""):
        data = {"name": "x", "monthly_price_usd": wrong, "monthly_credits_usd": "1", "daily_requests": "1"}
        assert operator.post(page_of(Tier, "change", tier.pk), {**data, "requests_per_minute": "1"}).status_code == 200
    assert Tier.objects.filter(slug="vip1").count() == 1


def test_a_subscription_is_given_replaced_and_ended(operator: Client, cast: Cast) -> None:
    for tier in ("vip1", "vip3"):
        data = {"workspace": cast.workspace.pk, "tier_slug": tier}
        assert operator.post(page_of(Subscription, "add"), data).status_code == 302
        assert entitlements_of(cast.workspace.pk, owner_id=cast.alice.pk).tier_slug == tier
    live = Subscription.objects.get(ends_at__isnull=True)
    act(operator, Subscription, "end", live)
    assert entitlements_of(cast.workspace.pk, owner_id=cast.alice.pk).tier_slug == "free"
    for action in ("change", "delete"):
        assert operator.post(page_of(Subscription, action, live.pk), {"post": "yes"}).status_code == 403


def test_limits_are_overridden_and_the_override_deleted(operator: Client, cast: Cast) -> None:
    add = {"workspace": cast.workspace.pk, "requests_per_minute": "3", "daily_requests": ""}
    assert operator.post(page_of(LimitOverride, "add"), add).status_code == 302
    rights = entitlements_of(cast.workspace.pk, owner_id=cast.alice.pk)
    assert (rights.requests_per_minute, rights.daily_requests) == (3, 25)
    path = page_of(LimitOverride, "change", cast.workspace.pk)
    assert operator.post(path, {"requests_per_minute": "", "daily_requests": "0"}).status_code == 302
    assert entitlements_of(cast.workspace.pk, owner_id=cast.alice.pk).daily_requests == 0
    assert "Set at least one limit" in operator.post(path, {"requests_per_minute": "", "daily_requests": ""}).text
    assert operator.post(page_of(LimitOverride, "delete", cast.workspace.pk), {"post": "yes"}).status_code == 302
    assert not LimitOverride.objects.exists()


def test_allauths_own_page_of_addresses_is_not_there() -> None:
    assert EmailAddress not in admin.site._registry


def test_a_suspended_workspace_stands_out_in_the_list(operator: Client, cast: Cast) -> None:
    suspend_workspace(cast.workspace.pk)
    listed = operator.get(page_of(Workspace, "changelist"), {"suspended_at__isempty": "0"}).text
    assert "alices-lab" in listed
    assert "charlies-den" not in listed
