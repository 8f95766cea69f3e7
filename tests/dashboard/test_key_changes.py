"""What is done to a key after it was made: edited, switched off and on, rotated; and what the list says of it."""

import datetime as dt

import pytest
from django.conf import LazySettings
from django.test import Client
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from accounts.budgets import Budget, BudgetPeriod
from accounts.models import ApiKey, AuditEntry
from accounts.roles import Role
from accounts.selectors.principals import principal_row
from accounts.services.apikeys import create_api_key, disable_api_key, revoke_api_key
from accounts.services.member_budgets import set_member_budget
from accounts.services.rotation import rotate_api_key
from billing.services import ledger
from billing.types import Admission
from lumyx.lib import clock, crypto
from lumyx.lib.ids import uuid7
from tests.dashboard.pages import fill_catalog
from tests.dashboard.test_keys import HTMX, KEYS, secret_in
from tests.factories import Cast, fund, make_cast, make_member

pytestmark = pytest.mark.django_db
DOLLAR = 10**9


@pytest.fixture
def cast() -> Cast:
    return make_cast()


@pytest.fixture
def alice(client: Client, cast: Cast) -> Client:
    client.force_login(cast.alice)
    return client


@pytest.fixture
def key(cast: Cast) -> ApiKey:
    """A key of Alice's without any limit."""
    return create_api_key(workspace=cast.workspace, name="Production", created_by=cast.alice).row


def path(step: str, key: ApiKey) -> str:
    return reverse(f"dashboard:key_{step}", args=[key.prefix])


LIMITS = {
    "name": "CI",
    "expires": "7",
    "budget": "12.50",
    "period": "week",
    "requests_per_minute": "30",
    "allowed_addresses": "203.0.113.7, 10.0.0.0/8\n2001:db8::/32",
}


def limits_of(key: ApiKey) -> tuple[object, ...]:
    key.refresh_from_db()
    return (key.name, key.budget_nano, key.budget_period, key.requests_per_minute, key.allowed_addresses)


EXPECTED = ("CI", 12_500_000_000, "week", 30, ["203.0.113.7/32", "10.0.0.0/8", "2001:db8::/32"])


def test_a_key_is_made_with_every_limit(alice: Client, cast: Cast) -> None:
    fill_catalog()
    models = ["sandbox/echo", "sandbox/*"]
    response = alice.post(reverse("dashboard:key_create"), LIMITS | {"allowed_models": models})
    assert secret_in(response.content)
    key = ApiKey.objects.get()
    assert limits_of(key) == EXPECTED
    assert set(key.allowed_models) == set(models)
    row = AuditEntry.objects.get(action="api_key.created")
    assert (row.actor_id, row.target_id, row.details["budget_nano"]) == (cast.alice.pk, str(key.pk), "$12.5")
    assert secret_in(response.content) not in str(row.details)


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_limits_are_changed_and_written_down(alice: Client, key: ApiKey, headers: dict[str, str]) -> None:
    response = alice.post(path("edit", key), LIMITS, headers=headers)
    if headers:
        assertContains(response, 'id="keys-table" hx-swap-oob="true"')
        assert "is changed" in response["HX-Trigger"]
    else:
        assertRedirects(response, KEYS)
    assert limits_of(key) == EXPECTED
    row = AuditEntry.objects.get(action="api_key.changed")
    assert row.details["name"] == ["Production", "CI"]
    assert row.details["budget_nano"] == ["none", "$12.5"]


def test_the_form_shows_what_is_there_and_sending_it_back_changes_nothing(alice: Client, cast: Cast) -> None:
    fill_catalog()
    key = create_api_key(
        workspace=cast.workspace,
        name="Production",
        created_by=cast.alice,
        expires_at=clock.now() + dt.timedelta(days=3),
        allowed_models=["gone/model", "sandbox/echo"],
        allowed_addresses=["10.0.0.0/8"],
        requests_per_minute=7,
        budget=Budget(5 * DOLLAR, BudgetPeriod.DAY),
    ).row
    before = ApiKey.objects.values().get()
    form = alice.get(path("edit", key), headers=HTMX)
    for text in ('value="5"', ">10.0.0.0/8<", 'value="7"', "As it is:", "gone/model"):
        assertContains(form, text)
    sent = {"name": "Production", "expires": "keep", "budget": "5", "period": "day", "requests_per_minute": "7"}
    alice.post(
        path("edit", key), sent | {"allowed_models": ["gone/model", "sandbox/echo"], "allowed_addresses": "10.0.0.0/8"}
    )
    assert ApiKey.objects.values().get() == before
    assert not AuditEntry.objects.filter(action="api_key.changed").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"budget": "much"}, "Write US dollars"),
        ({"budget": "0"}, "Write more than 0"),
        ({"budget": "-5"}, "Write more than 0"),
        ({"budget": "1e30"}, "Write US dollars"),
        ({"period": "year", "budget": "1"}, "Choose one of the list"),
        ({"requests_per_minute": "0"}, "Write at least 1"),
        ({"requests_per_minute": "many"}, "Write a whole number"),
        ({"allowed_addresses": "10.0.0.1/8"}, "is no address or network"),
        ({"allowed_addresses": "example.com"}, "is no address or network"),
    ],
)
def test_a_bad_limit_says_what_to_do_and_changes_nothing(
    alice: Client, key: ApiKey, data: dict[str, str], message: str
) -> None:
    before = limits_of(key)
    response = alice.post(path("edit", key), {"name": "x", **data})
    assertContains(response, message, status_code=422)
    assertContains(response, '<details class="fold" open>', status_code=422)
    assert limits_of(key) == before


def test_switching_off_and_on(alice: Client, key: ApiKey) -> None:
    assertContains(alice.post(path("switch", key), follow=True), ">Off</span>")
    key.refresh_from_db()
    assert key.state == "disabled"
    response = alice.post(path("switch", key), {"on": "1"}, headers=HTMX)
    assert "is on again" in response["HX-Trigger"]
    key.refresh_from_db()
    assert key.state == "active"
    acts = list(AuditEntry.objects.filter(target_id=str(key.pk)).values_list("action", flat=True).order_by("id"))
    assert acts == ["api_key.created", "api_key.disabled", "api_key.enabled"]


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_rotating_shows_the_new_secret_once_and_when_the_old_one_ends(
    alice: Client, key: ApiKey, settings: LazySettings, headers: dict[str, str]
) -> None:
    assertContains(alice.get(path("rotate", key), headers=headers), "Rotate “Production”")
    response = alice.post(path("rotate", key), {"overlap": "1440"}, headers=headers)
    secret = secret_in(response.content)
    assert response["Cache-Control"] == "no-store, private"
    assertContains(response, "works until")
    assertContains(response, key.prefix)  # the old one's
    row = principal_row(crypto.api_key_digest(secret, pepper=settings.LUMYX_API_KEY_PEPPER))
    assert row is not None
    assert row.api_key_id == key.pk
    page = alice.get(KEYS)
    assertNotContains(page, secret)
    assertContains(page, f"{key.prefix}… ends ")
    assert secret not in str(list(AuditEntry.objects.values("details")))


def test_a_rotation_without_an_overlap_says_so(alice: Client, key: ApiKey) -> None:
    response = alice.post(path("rotate", key), {"overlap": "0"})
    assertContains(response, "has ended")
    assertNotContains(alice.get(KEYS), f"{key.prefix}… ends ")


@pytest.mark.parametrize("overlap", ["", "5", "-1", "999999"])
def test_another_overlap_than_those_of_the_list_rotates_nothing(alice: Client, key: ApiKey, overlap: str) -> None:
    assertContains(alice.post(path("rotate", key), {"overlap": overlap}), "Choose one of the list", status_code=422)
    before = key.digest
    key.refresh_from_db()
    assert key.digest == before


def test_the_old_secret_is_ended_before_its_time(alice: Client, cast: Cast, key: ApiKey) -> None:
    made = rotate_api_key(workspace_id=cast.workspace.pk, prefix=key.prefix, overlap=dt.timedelta(days=7))
    assertContains(alice.get(KEYS), "End the old secret")
    alice.post(path("end_old", made.row))
    key.refresh_from_db()
    assert key.overlap_ends_at is None
    assertNotContains(alice.get(KEYS), "End the old secret")


def test_a_revoked_key_is_neither_edited_nor_rotated(alice: Client, cast: Cast, key: ApiKey) -> None:
    revoke_api_key(workspace_id=cast.workspace.pk, prefix=key.prefix)
    assertContains(alice.post(path("edit", key), {"name": "x"}), "is revoked", status_code=422)
    assertContains(alice.post(path("rotate", key), {"overlap": "0"}), "is revoked", status_code=422)
    assertNotContains(alice.get(KEYS), path("edit", key))


def test_the_list_shows_budgets_states_and_limits(alice: Client, cast: Cast) -> None:
    fund(cast.workspace, "100")
    budget = Budget(4 * DOLLAR, BudgetPeriod.MONTH)
    set_member_budget(
        workspace_id=cast.workspace.pk, user_id=cast.bob.pk, budget=Budget(8 * DOLLAR, BudgetPeriod.TOTAL)
    )
    key = create_api_key(
        workspace=cast.workspace,
        name="Bob's",
        created_by=cast.bob,
        budget=budget,
        requests_per_minute=30,
        allowed_addresses=["10.0.0.0/8"],
    ).row
    amount = 3 * DOLLAR + DOLLAR // 2
    ledger.admit([Admission(uuid7(), cast.workspace.pk, key.pk, "m", amount, amount, 60.0)])
    off = create_api_key(workspace=cast.workspace, name="Off one", created_by=cast.alice).row
    disable_api_key(workspace_id=cast.workspace.pk, prefix=off.prefix)
    page = alice.get(KEYS)
    for text in (
        *(
            "87% of the key’s budget is used",
            "43% of the member’s budget is used",
            "This month",
            "All their keys, in total",
        ),
        *("30/min", "1 network", ">Off</span>", 'class="meter warn"'),
    ):
        assertContains(page, text)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.BILLING])
@pytest.mark.parametrize("step", ["edit", "switch", "rotate", "end_old"])
def test_who_may_not_manage_keys_changes_nothing(
    client: Client, cast: Cast, key: ApiKey, role: Role, step: str
) -> None:
    client.force_login(make_member(cast.workspace, role))
    before = ApiKey.objects.values().get(pk=key.pk)
    assert client.post(path(step, key), LIMITS | {"overlap": "0"}).status_code == 403
    assertNotContains(client.get(KEYS), "Actions for")
    assert ApiKey.objects.values().get(pk=key.pk) == before


@pytest.mark.parametrize("step", ["edit", "switch", "rotate", "end_old"])
def test_another_workspaces_key_does_not_exist(client: Client, cast: Cast, key: ApiKey, step: str) -> None:
    client.force_login(cast.charlie)
    before = ApiKey.objects.values().get(pk=key.pk)
    assert client.post(path(step, key), LIMITS | {"overlap": "0"}).status_code == 404
    assert ApiKey.objects.values().get(pk=key.pk) == before
