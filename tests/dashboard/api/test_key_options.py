"""What the management API sets of an API key beside its name: budget, networks, pace, the switch, a new secret."""

import datetime as dt
from typing import Any

import pytest
from django.conf import LazySettings

from accounts.budgets import Budget, BudgetPeriod
from accounts.models import ApiKey, AuditEntry
from accounts.selectors.principals import principal_row
from lumyx.lib.crypto import api_key_digest
from lumyx.lib.money import NANO_PER_USD as USD
from tests.dashboard.api.conftest import BASE, Managed

JSON = "application/json"


def change(managed: Managed, body: dict[str, Any]) -> Any:
    """Change Alice's key."""
    return managed.alice.patch(f"{BASE}/keys/{managed.api_key.row.prefix}", body, content_type=JSON)


def row(managed: Managed) -> ApiKey:
    """Return Alice's key as it is stored."""
    return ApiKey.objects.get(pk=managed.api_key.row.pk)


def test_a_key_is_made_with_all_that_limits_it(managed: Managed) -> None:
    body = {
        "name": "CI",
        "budget": {"amount": "2.5", "period": "week"},
        "allowed_addresses": ["203.0.113.7", "2001:db8::/32"],
        "allowed_models": ["openai/*"],
        "requests_per_minute": 30,
    }
    made = managed.alice.post(f"{BASE}/keys", body, content_type=JSON)
    assert made.status_code == 201
    view = made.json()
    stored = ApiKey.objects.get(prefix=view["prefix"])
    assert stored.budget == Budget(5 * USD // 2, BudgetPeriod.WEEK)
    assert view["allowed_addresses"] == stored.allowed_addresses == ["203.0.113.7/32", "2001:db8::/32"]
    assert (view["requests_per_minute"], stored.requests_per_minute) == (30, 30)
    budget = view["budget"]
    resets_at = dt.datetime.fromisoformat(budget.pop("resets_at"))
    assert (resets_at.weekday(), resets_at.hour) == (0, 0)
    assert budget == {"amount": "2.5", "period": "week", "spent": "0", "held": "0", "left": "2.5"}


def test_a_budget_is_set_kept_and_taken_away(managed: Managed) -> None:
    assert change(managed, {"budget": {"amount": "1", "period": "total"}}).json()["budget"]["resets_at"] is None
    change(managed, {"name": "renamed"})
    assert row(managed).budget == Budget(USD, BudgetPeriod.TOTAL)
    assert change(managed, {"budget": None}).json()["budget"] is None
    assert row(managed).budget is None


@pytest.mark.parametrize(
    ("budget", "word"),
    [
        ({"amount": "0", "period": "day"}, "above zero"),
        ({"amount": "-1", "period": "day"}, "above zero"),
        ({"amount": "a lot", "period": "day"}, "not an amount"),
        ({"amount": "0.0000000001", "period": "day"}, "nine decimals"),
        ({"amount": "1e30", "period": "day"}, "can be stored"),
        ({"amount": "1", "period": "year"}, "year"),
        ({"amount": "1"}, "period"),
        ({"amount": "1", "period": "day", "currency": "eur"}, "currency"),
        ("1", "budget"),
    ],
)
def test_a_budget_that_is_none_is_refused_and_changes_nothing(managed: Managed, budget: Any, word: str) -> None:
    answer = change(managed, {"budget": budget})
    assert answer.status_code == 400
    assert word in answer.json()["error"]["message"]
    assert row(managed).budget is None


def test_a_key_is_switched_off_and_on_and_that_is_written_down(managed: Managed) -> None:
    assert change(managed, {"disabled": True, "name": "off"}).json()["state"] == "disabled"
    assert (row(managed).state, row(managed).name) == ("disabled", "off")
    assert change(managed, {"disabled": False}).json()["state"] == "active"
    actions = AuditEntry.objects.filter(target_id=str(row(managed).pk), actor_kind="key").order_by("pk")
    assert list(actions.values_list("action", flat=True)) == ["api_key.changed", "api_key.disabled", "api_key.enabled"]


def test_a_rotated_key_has_a_new_secret_and_the_old_one_works_on(managed: Managed, settings: LazySettings) -> None:
    old = managed.api_key.row.prefix
    answer = managed.alice.post(f"{BASE}/keys/{old}/rotate", {"overlap_minutes": 60}, content_type=JSON)
    assert answer.status_code == 200
    view = answer.json()
    for secret in (view["secret"], managed.api_key.secret):
        found = principal_row(api_key_digest(secret, pepper=settings.LUMYX_API_KEY_PEPPER))
        assert found is not None
        assert found.api_key_id == managed.api_key.row.pk
    assert (view["previous_prefix"], row(managed).prefix) == (old, view["prefix"])
    assert managed.alice.post(f"{BASE}/keys/{old}/rotate", {}, content_type=JSON).status_code == 404


def test_a_repeated_rotation_rotates_once_and_gives_the_secret_once(managed: Managed) -> None:
    path = f"{BASE}/keys/{managed.api_key.row.prefix}/rotate"
    headers = {"Idempotency-Key": "rotate-1"}
    first = managed.alice.post(path, {"overlap_minutes": 5}, content_type=JSON, headers=headers)
    again = managed.alice.post(path, {"overlap_minutes": 5}, content_type=JSON, headers=headers)
    assert again.json() == {**first.json(), "secret": None}
    assert again["idempotent-replayed"] == "true"
    assert row(managed).prefix == first.json()["prefix"]


@pytest.mark.parametrize("overlap", [-1, 43201, "soon", True])
def test_an_overlap_has_bounds(managed: Managed, overlap: Any) -> None:
    path = f"{BASE}/keys/{managed.api_key.row.prefix}/rotate"
    answer = managed.alice.post(path, {"overlap_minutes": overlap}, content_type=JSON)
    assert (answer.status_code, "overlap_minutes" in answer.json()["error"]["message"]) == (400, True)


def test_a_revoked_key_is_not_rotated(managed: Managed) -> None:
    prefix = managed.api_key.row.prefix
    assert managed.alice.delete(f"{BASE}/keys/{prefix}").json()["state"] == "revoked"
    answer = managed.alice.post(f"{BASE}/keys/{prefix}/rotate", {}, content_type=JSON)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
