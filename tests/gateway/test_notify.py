"""Every change of a row that processes cache is told on the channel lumyx; what the request path writes is not."""

import datetime as dt
from collections.abc import Callable, Iterator

import psycopg
import pytest
from django.db import connection

from accounts.models import ApiKey, Membership, PolicyAcceptance, User, Workspace
from billing.models import LimitOverride, Subscription, Tier
from gateway.models import CatalogModel, Price, Route, RouteCost, Upstream
from gateway.services.rollups import roll_up
from gateway.services.usage import record_usage
from tests.gateway.records import usage_record

pytestmark = pytest.mark.django_db(transaction=True)
NOW = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
type Heard = Callable[[], set[str]]


@pytest.fixture
def heard() -> Iterator[Heard]:
    """Give a function that returns the topics told since it was last called."""
    settings = connection.get_connection_params()
    listener = psycopg.connect(
        **{key: settings[key] for key in ("dbname", "user", "password", "host", "port") if key in settings},
        autocommit=True,
    )
    listener.execute("LISTEN lumyx")

    def topics() -> set[str]:
        # The notification arrives before the answer to a later query of the listener's own.
        listener.execute("SELECT 1")
        return {note.payload for note in listener.notifies(timeout=0.05)}

    yield topics
    listener.close()


@pytest.fixture
def workspace() -> Workspace:
    """Make a workspace with plain rows: what is tested here are triggers, not services."""
    owner = User.objects.create(email="alice@example.com")
    return Workspace.objects.create(slug="alice", name="Alice", owner=owner)


@pytest.fixture
def key(workspace: Workspace) -> ApiKey:
    """Make an API key's row."""
    return ApiKey.objects.create(
        workspace=workspace, name="k", digest=b"d" * 32, prefix="lx-00000000", last_four="0000"
    )


def test_every_table_of_the_catalog_tells_inserts_updates_and_deletes(heard: Heard) -> None:
    upstream = Upstream.objects.create(name="u", provider="p", protocol="sandbox")
    assert heard() == {"catalog"}
    model = CatalogModel.objects.create(public_id="m", display_name="M", context_window=10)
    assert heard() == {"catalog"}
    Price.objects.create(model=model, version=1, input=1)
    assert heard() == {"catalog"}
    route = Route.objects.create(model=model, upstream=upstream, upstream_model="x")
    assert heard() == {"catalog"}
    RouteCost.objects.create(route=route, version=1, input=1)
    assert heard() == {"catalog"}
    for rows in (Upstream.objects.all(), CatalogModel.objects.all(), Route.objects.all()):
        rows.update(is_enabled=False)
        assert heard() == {"catalog"}
    Price.objects.update(input=2)
    assert heard() == {"catalog"}
    route.delete()
    assert heard() == {"catalog"}
    upstream.delete()
    assert heard() == {"catalog"}


def test_nothing_is_told_before_the_commit_or_after_a_rollback(heard: Heard) -> None:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(
            "INSERT INTO gateway_upstream (name, provider, protocol, base_url, credential,"
            " allow_private_network, is_enabled, connect_timeout, first_byte_timeout, idle_timeout,"
            " total_timeout) VALUES ('u', 'p', 'sandbox', '', '', false, true, 1, 1, 1, 1)"
        )
        assert heard() == set()
        cursor.execute("ROLLBACK")
    assert heard() == set()


@pytest.mark.parametrize(
    "change",
    [
        *({"revoked_at": NOW}, {"expires_at": NOW}, {"disabled_at": NOW}, {"allowed_models": ["m"]}, {"is_test": True}),
        *({"digest": b"e" * 32}, {"previous_digest": b"e" * 32}, {"previous_ends_at": NOW}, {"requests_per_minute": 5}),
        *({"allowed_addresses": ["10.0.0.0/8"]}, {"budget_nano": 1, "budget_period": "day"}),
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_change_of_what_a_key_may_do_is_told(change: dict[str, object], key: ApiKey, heard: Heard) -> None:
    ApiKey.objects.filter(pk=key.pk).update(**change)
    assert heard() == {f"key:{key.pk}"}
    for name, value in change.items():
        setattr(key, name, value)
    key.save()  # sets every column to what it is
    assert heard() == set()


def test_a_key_that_comes_or_goes_is_told(key: ApiKey, heard: Heard) -> None:
    other = ApiKey.objects.create(
        workspace=key.workspace, name="k", digest=b"f" * 32, prefix="lx-11111111", last_four="0000"
    )
    assert heard() == {f"key:{other.pk}"}
    pk = key.pk
    key.delete()
    assert heard() == {f"key:{pk}"}


def test_the_last_use_of_a_key_is_never_told(key: ApiKey, heard: Heard) -> None:
    ApiKey.objects.update(last_used_at=NOW, name="renamed")
    assert heard() == set()


def test_what_the_request_path_writes_is_never_told(key: ApiKey, heard: Heard) -> None:
    record_usage([usage_record(workspace_id=key.workspace_id, api_key_id=key.pk)])
    roll_up()
    assert heard() == set()


def test_suspension_and_owner_of_a_workspace_are_told(workspace: Workspace, heard: Heard) -> None:
    Workspace.objects.update(suspended_at=NOW)
    assert heard() == {f"workspace:{workspace.pk}"}
    Workspace.objects.update(owner=User.objects.create(email="bob@example.com"))
    assert f"workspace:{workspace.pk}" in heard()
    Workspace.objects.update(name="renamed")
    assert heard() == set()


def test_what_a_workspace_is_entitled_to_is_told(workspace: Workspace, heard: Heard) -> None:
    topic = {f"workspace:{workspace.pk}"}
    subscription = Subscription.objects.create(workspace=workspace, tier_slug="vip1", source="operator")
    assert heard() == topic
    Subscription.objects.update(ends_at=NOW)
    assert heard() == topic
    override = LimitOverride.objects.create(workspace=workspace, daily_requests=5)
    assert heard() == topic
    LimitOverride.objects.update(daily_requests=6)
    assert heard() == topic
    LimitOverride.objects.update(daily_requests=6)
    assert heard() == set(), "the same value is no change"
    override.delete()
    assert heard() == topic
    subscription.delete()
    assert heard() == topic


def test_an_accepted_policy_and_a_changed_role_are_told_to_the_workspace(workspace: Workspace, heard: Heard) -> None:
    topic = {f"workspace:{workspace.pk}"}
    PolicyAcceptance.objects.create(workspace=workspace, policy="uncensored", version=1, accepted_by="x")
    assert heard() == topic
    Membership.objects.create(workspace=workspace, user=workspace.owner, role="owner")
    assert heard() == topic
    Membership.objects.update(role="admin")
    assert heard() == topic


def test_the_verification_of_an_address_is_told(workspace: Workspace, heard: Heard) -> None:
    topic = {f"user:{workspace.owner_id}"}
    User.objects.update(email_verified_at=NOW)
    assert heard() == topic
    User.objects.update(name="Alice", last_login=NOW)
    assert heard() == set()
    User.objects.update(is_active=False)
    assert heard() == topic


def test_a_tier_is_told(heard: Heard) -> None:
    Tier.objects.create(
        slug="t", name="T", rank=9, monthly_price=0, monthly_credits=0, daily_requests=1, requests_per_minute=1
    )
    assert heard() == {"tiers"}
    Tier.objects.update(daily_requests=2)
    assert heard() == {"tiers"}
