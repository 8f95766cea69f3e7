"""GET /generation: whose receipts are told, under which ids, and that their arithmetic is the charge."""

import datetime as dt
import json
import re
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import Workspace
from billing.rating import Rates, TokenUsage, charge_for, charge_lines, exact_nano, rounded_up
from billing.services import ledger
from billing.types import Admission, Settlement
from gateway.app import GatewayApp
from gateway.limits.minute import MinuteLimiter
from gateway.models import CatalogModel, Price
from gateway.pipeline import Gateway, Limits
from gateway.protocols import receipt as receipt_module
from gateway.protocols.receipt import FLAGS, DetailsGoneError, Receipt, receipt_view, request_id_in
from gateway.selectors.receipts import receipt_of
from gateway.services.settlement import settle_exchanges
from gateway.store import Store, StoreUnavailableError
from gateway.types import Principal
from lumyx.lib import clock
from lumyx.lib.ids import uuid7
from tests.factories import fund, make_api_key, make_workspace
from tests.gateway.asgi import Client
from tests.gateway.exchanges import PRINCIPAL
from tests.gateway.records import usage_record
from tests.gateway.test_count_tokens import Minute

PATH = "/api/v1/generation"
USAGE = TokenUsage(input=12, cache_read=2, cache_write=1, output=8, reasoning=3)
RATES = Rates(input=500_000_000, output=1_500_000_000, cache_read=50_300_000, cache_write=None)


@pytest.fixture
def workspace() -> Workspace:
    """A workspace with a dollar."""
    row = make_workspace()
    fund(row, "1")
    return row


def make_price() -> Price:
    """Make the second version of a model's price."""
    model = CatalogModel.objects.create(public_id="sandbox/paid", display_name="Paid", context_window=1000)
    Price.objects.create(model=model, version=1, input=1, output=1)
    return Price.objects.create(
        model=model, version=2, input=RATES.input, output=RATES.output, cache_read=RATES.cache_read
    )


def settle(workspace: Workspace, *, hold: int = 100_000, rated: int | None, **values: Any) -> uuid.UUID:
    """Admit a request, settle it, and return its id."""
    request_id = uuid7()
    key = make_api_key(workspace).row.pk
    admission = Admission(request_id, workspace.pk, key, "sandbox/paid", amount=hold, floor=hold, ttl=600.0)
    (admitted,) = ledger.admit([admission])
    assert admitted.refusal is None
    record = usage_record(id=request_id, workspace_id=workspace.pk, api_key_id=key, **values)
    settle_exchanges([(Settlement(request_id, rated, admission), record)])
    return request_id


def receipt_for(workspace: Workspace, request_id: uuid.UUID) -> Receipt:
    """Return a receipt that must exist."""
    receipt = receipt_of(workspace.pk, request_id=request_id)
    assert receipt is not None
    return receipt


@pytest.mark.django_db
def test_a_receipt_says_how_the_charge_came_about(workspace: Workspace) -> None:
    price = make_price()
    rated = charge_for(USAGE, RATES)
    request_id = settle(workspace, rated=rated, price_id=price.pk, flags="usage_clamped,usage_stale")
    told = receipt_view(receipt_for(workspace, request_id))
    # 12 × 500 + 2 × 50.3 + 1 × 500 + 8 × 1500 nano-USD.
    assert told["arithmetic"] == {
        "lines": [
            {"class": "input", "tokens": 12, "per_million": "0.5", "nano": "6000"},
            {"class": "cache_read", "tokens": 2, "per_million": "0.0503", "nano": "100.6"},
            {"class": "cache_write", "tokens": 1, "per_million": "0.5", "nano": "500"},
            {"class": "output", "tokens": 8, "per_million": "1.5", "nano": "12000"},
        ],
        "sum_nano": "18600.6",
        "rounded_up_nano": "18601",
    }
    assert (told["charge"], told["charge_nano"]) == ("0.000018601", "18601")
    assert (told["absorbed"], told["absorbed_nano"]) == ("0", "0")
    assert told["id"] == request_id.hex
    assert (told["model"], told["kind"], told["status"]) == ("sandbox/paid", "chat", "ok")
    assert told["usage"] == {
        "input_tokens": 12,
        "cache_read_tokens": 2,
        "cache_write_tokens": 1,
        "output_tokens": 8,
        "reasoning_tokens": 3,
    }
    assert told["usage_source"] == "reported"
    assert told["usage_flags"] == ["usage_clamped", "usage_stale"]
    assert told["usage_notes"] == [FLAGS["usage_clamped"], FLAGS["usage_stale"]]
    assert (told["price"]["id"], told["price"]["version"]) == (price.pk, 2)
    assert told["price"]["per_million"] == {
        "input": "0.5",
        "cache_read": "0.0503",
        "cache_write": "0.5",
        "output": "1.5",
    }
    assert dt.datetime.fromisoformat(told["price"]["since"]) <= clock.now()
    assert told["paid_by"] == [{"kind": "paid", "amount": "0.000018601", "amount_nano": "18601", "expires_at": None}]
    assert told["timings"] == {"first_token_ms": 20, "duration_ms": 100}
    assert (told["http_status"], told["error_code"], told["is_stream"]) == (200, None, False)
    assert "upstream" not in json.dumps(told)


@pytest.mark.django_db
def test_several_grants_are_named_in_the_order_in_which_they_paid(workspace: Workspace) -> None:
    ends = clock.now().replace(microsecond=0) + dt.timedelta(days=3)
    ledger.grant(workspace_id=workspace.pk, kind="promo", amount=600, source="promo:1", expires_at=ends)
    ledger.grant(
        workspace_id=workspace.pk, kind="vip", amount=300, source="vip:1", expires_at=ends - dt.timedelta(days=1)
    )
    told = receipt_view(receipt_for(workspace, settle(workspace, rated=1_000)))
    assert [(use["kind"], use["amount_nano"]) for use in told["paid_by"]] == [
        ("vip", "300"),
        ("promo", "600"),
        ("paid", "100"),
    ]
    assert told["paid_by"][1]["expires_at"] == ends.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.django_db
def test_what_was_absorbed_free_or_is_priced_no_more_is_told_as_such(workspace: Workspace) -> None:
    price = make_price()
    absorbed = receipt_for(workspace, settle(workspace, hold=18_000, rated=18_601, price_id=price.pk))
    assert (absorbed.charge, absorbed.absorbed, absorbed.rated) == (18_000, 601, 18_601)
    free = receipt_for(workspace, settle(workspace, hold=0, rated=0, price_id=price.pk, is_free=True))
    assert (free.price, free.rated, free.payments) == (None, 0, ())
    CatalogModel.objects.all().delete()
    gone = receipt_view(receipt_for(workspace, settle(workspace, rated=18_601, price_id=price.pk)))
    assert (gone["price"], gone["arithmetic"], gone["kind"], gone["charge_nano"]) == (None, None, None, "18601")


@pytest.mark.django_db
def test_a_receipt_is_its_workspaces_own_and_of_what_has_ended(workspace: Workspace) -> None:
    request_id = settle(workspace, rated=5)
    assert receipt_of(make_workspace().pk, request_id=request_id) is None
    running = uuid7()
    ledger.admit([Admission(running, workspace.pk, make_api_key(workspace).row.pk, "m", 10, 10, 600.0)])
    assert receipt_of(workspace.pk, request_id=running) is None
    assert receipt_of(workspace.pk, request_id=uuid7()) is None


@given(
    st.builds(TokenUsage, *[st.integers(0, 10**8)] * 4, reasoning=st.just(0)),
    st.builds(
        Rates,
        st.integers(0, 10**12),
        st.integers(0, 10**12),
        *[st.none() | st.integers(0, 10**12)] * 2,
    ),
)
def test_the_lines_of_a_charge_are_the_charge(usage: TokenUsage, rates: Rates) -> None:
    lines = charge_lines(usage, rates)
    product = sum(line.product for line in lines)
    assert rounded_up(product) == charge_for(usage, rates)
    whole, _, rest = exact_nano(product).partition(".")
    assert int(whole) * 10**6 + int(rest.ljust(6, "0")) == product
    assert not rest.endswith("0")


REQUEST = uuid.UUID("01999a80-0000-7000-8000-0123456789ab")


@pytest.mark.parametrize("prefix", ["", "chatcmpl-", "msg_", "embd-"])
def test_an_id_is_known_in_every_form_in_which_clients_see_it(prefix: str) -> None:
    assert request_id_in(prefix + REQUEST.hex) == REQUEST
    assert request_id_in(prefix + str(REQUEST)) == REQUEST


@pytest.mark.parametrize(
    "text", ["", "x", "msg_", REQUEST.hex[:-1], REQUEST.hex + "0", "gen-" + REQUEST.hex, f" {REQUEST.hex}", "é" * 32]
)
def test_what_is_no_id_is_none(text: str) -> None:
    assert request_id_in(text) is None


def test_every_flag_has_words() -> None:
    folder = Path(receipt_module.__file__).parent.parent
    sources = [path.read_text() for path in folder.rglob("*.py") if path.name != "receipt.py"]
    used = {
        flag for source in sources for flag in re.findall(r'"(usage_(?:clamped|stale|zero_\w+|unreadable))"', source)
    }
    assert used | {"reasoning_outside", "test_key"} == FLAGS.keys()


class Receipts:
    """A store with one receipt."""

    def __init__(self, receipt: Receipt | None, *, principal: Principal = PRINCIPAL) -> None:
        self.asked: list[tuple[int, uuid.UUID]] = []
        self.is_away = False
        self.kept_since: dt.date | None = None
        self._receipt = receipt
        self._principal = principal

    async def principal(self, secret: str) -> Principal | None:
        return self._principal if secret == "lx-right" else None

    async def receipt(self, workspace_id: int, request_id: uuid.UUID) -> Receipt | None:
        self.asked.append((workspace_id, request_id))
        if self.is_away:
            raise StoreUnavailableError("away")
        if self.kept_since is not None:
            raise DetailsGoneError(self.kept_since)
        return self._receipt


def make_app(store: Receipts, *, minute: Minute | None = None) -> GatewayApp:
    """Make the application over this store."""
    app = GatewayApp()
    limits = Limits(body_limit=1000, body_deadline=1.0, lease=45.0, sandbox_is_open=True)
    app.gateway = Gateway(
        store=cast(Store, store),
        minute=cast(MinuteLimiter, minute or Minute()),
        dispatcher=cast(Any, None),
        limits=limits,
    )
    return app


async def ask(app: GatewayApp, query: str, *, key: str = "lx-right", path: str = PATH, method: str = "GET") -> Client:
    """Ask for a receipt."""
    client = Client(method=method, path=path, headers=[("authorization", f"Bearer {key}")] if key else [])
    client.scope["query_string"] = query.encode()
    return await client.run(app)


RECEIPT = Receipt(
    id=REQUEST,
    model="our-name",
    kind="chat",
    usage=USAGE,
    usage_source="estimated",
    flags=(),
    price=None,
    rates=RATES,
    charge=18_601,
    absorbed=0,
    payments=(),
    status="ok",
    http_status=200,
    error_code="",
    is_stream=True,
    is_free=False,
    started_at=clock.now(),
    first_token_ms=None,
    duration_ms=5,
)


@pytest.mark.parametrize("path", [PATH, "/api/v1/v1/generation"])
async def test_a_receipt_is_answered_to_the_key_of_its_workspace(path: str) -> None:
    store = Receipts(RECEIPT)
    client = await ask(make_app(store), f"id=chatcmpl-{REQUEST.hex}", path=path)
    assert client.status == 200
    assert client.json() == {"data": receipt_view(RECEIPT)}
    assert client.json()["data"]["usage_source"] == "estimated"
    assert store.asked == [(PRINCIPAL.workspace_id, REQUEST)]


@pytest.mark.parametrize(
    ("query", "code", "words"),
    [
        ("", "missing_parameter", "id is missing"),
        ("id=", "missing_parameter", "id is missing"),
        ("id=nonsense", "invalid_parameter", "nonsense"),
        ("id=a&id=b", "invalid_parameter", "2 times"),
    ],
)
async def test_a_question_without_a_good_id_is_refused_in_words(query: str, code: str, words: str) -> None:
    store = Receipts(RECEIPT)
    client = await ask(make_app(store), query)
    assert (client.status, client.json()["error"]["code"]) == (400, code)
    assert words in client.json()["error"]["message"]
    assert store.asked == []


async def test_what_does_not_exist_or_still_runs_is_a_404_that_says_so() -> None:
    client = await ask(make_app(Receipts(None)), f"id={REQUEST}")
    assert (client.status, client.json()["error"]["code"]) == (404, "not_found")
    assert "still running" in client.json()["error"]["message"]


async def test_what_is_not_kept_any_more_is_a_404_that_says_so() -> None:
    store = Receipts(None)
    store.kept_since = dt.date(2026, 2, 1)
    client = await ask(make_app(store), f"id={REQUEST}")
    assert (client.status, client.json()["error"]["code"]) == (404, "not_found")
    assert "before 1 February 2026 are not kept any more" in client.json()["error"]["message"]


async def test_a_receipt_needs_a_key_a_get_a_database_and_keeps_the_pace() -> None:
    store = Receipts(RECEIPT, principal=replace(PRINCIPAL, requests_per_minute=60))
    assert (await ask(make_app(store), f"id={REQUEST}", key="")).status == 401
    assert (await ask(make_app(store), f"id={REQUEST}", key="lx-wrong")).status == 401
    assert (await ask(make_app(store), f"id={REQUEST}", method="POST")).headers["allow"] == "GET"
    paced = await ask(make_app(store), f"id={REQUEST}")
    assert paced.headers["x-ratelimit-remaining-requests"] == "59"
    refused = await ask(make_app(store, minute=Minute(allowed=False)), f"id={REQUEST}")
    assert (refused.status, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    store.is_away = True
    assert (await ask(make_app(store), f"id={REQUEST}")).status == 503
