"""The fake with its clock standing still, the SDK against it, and a shop that sells two plans."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import stripe

from rig.stripe.server import FakeStripe

KEY = "sk_test_fake"
START = int(datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp())
DAY = 86400
PRICES = {"plus": (2000, "month"), "pro": (5000, "month"), "plus-year": (20000, "year"), "pro-year": (50000, "year")}


@dataclass(frozen=True)
class Plans:
    """What is sold, to whom, and by whom."""

    fake: FakeStripe
    api: Any
    prices: dict[str, str]
    customer: str

    def open(self, plan: str = "plus", **more: Any) -> Any:
        """Return an open Checkout session that sells a plan."""
        return self.api.checkout.sessions.create(
            {
                "mode": "subscription",
                "customer": self.customer,
                "line_items": [{"price": self.prices[plan], "quantity": 1}],
                "subscription_data": {"metadata": {"workspace": "7"}},
                "success_url": "http://127.0.0.1:9/done",
                "cancel_url": "http://127.0.0.1:9/back",
                "client_reference_id": "7",
                **more,
            }
        )

    def subscribe(self, plan: str = "plus") -> Any:
        """Sell a plan and return the subscription."""
        return self.get(self.fake.subscribe_at(self.open(plan).id)["id"])

    def get(self, subscription: str) -> Any:
        """Return a subscription as it is now."""
        return self.api.subscriptions.retrieve(subscription)

    def switch(self, subscription: Any, plan: str, **more: Any) -> Any:
        """Change the plan of a subscription."""
        items = [{"id": subscription.items.data[0].id, "price": self.prices[plan]}]
        return self.api.subscriptions.update(subscription.id, {"items": items, **more})

    def invoices(self, **filters: Any) -> list[Any]:
        """Return the customer's invoices, oldest first."""
        params: Any = {"customer": self.customer, "limit": 100, **filters}
        rows: list[Any] = self.api.invoices.list(params).data
        return rows[::-1]

    def balance(self) -> int:
        """Return the customer's balance in cents; credit is negative."""
        found: int = self.api.customers.retrieve(self.customer).balance
        return found

    def types(self, since: int = 0) -> list[str]:
        """Return the types of all events but the first `since`."""
        return [event["type"] for event in self.fake.events()[since:]]


@pytest.fixture
def plans() -> Iterator[Plans]:
    """A shop on 31 January 2026 at noon, with one customer."""
    with FakeStripe(key=KEY) as fake:
        fake.set_clock(START)
        api = stripe.StripeClient(KEY, base_addresses={"api": fake.url}, max_network_retries=0).v1
        prices = {}
        for name, (amount, interval) in PRICES.items():
            product = api.products.create({"name": name.title()}).id
            params: Any = {"product": product, "currency": "usd", "unit_amount": amount}
            prices[name] = api.prices.create(params | {"recurring": {"interval": interval}}).id
        yield Plans(fake, api, prices, api.customers.create({"email": "a@example.org"}).id)
