"""The table of routes: method, path, handler and the parameters it knows."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from rig.stripe import (
    catalog,
    changes,
    checkout,
    collection,
    customers,
    invoices,
    payments,
    portal,
    reversals,
    schedules,
    subscriptions,
)  # fmt: skip
from rig.stripe.forms import LIST_PARAMS, check_known, list_page
from rig.stripe.state import Record, State, StripeError

type Handler = Callable[[State, list[str], Record], Record]
ONLY_EXPAND = frozenset({"expand"})


def list_events(state: State, _ids: list[str], params: Record) -> Record:
    """List events, of one type or several when asked."""
    types = params.get("types", [params["type"]] if "type" in params else None)
    kept = [event for event in state.events() if types is None or event["type"] in types]
    return list_page(kept, params, "/v1/events")


def retrieve_event(state: State, ids: list[str], _params: Record) -> Record:
    """Return an event of the last 30 days."""
    event = state.find("event", ids[0])
    if event not in state.events():
        raise StripeError(f"No such event: '{ids[0]}'", status=404, code="resource_missing", param="id")
    return event


@dataclass(frozen=True)
class Route:
    """One operation of the API; `{}` in the path stands for an id."""

    method: str
    path: str
    handler: Handler
    params: frozenset[str] = ONLY_EXPAND

    def match(self, method: str, path: str) -> list[str] | None:
        """Return the ids in the path, or None when the route is another."""
        found = re.fullmatch(self.path.replace("{}", "([^/]+)"), path)
        return list(found.groups()) if found and method == self.method else None


ROUTES = (
    Route("POST", "/v1/customers", customers.create, customers.FIELDS),
    Route("GET", "/v1/customers/{}", customers.retrieve),
    Route("POST", "/v1/customers/{}", customers.update, customers.FIELDS),
    Route("DELETE", "/v1/customers/{}", subscriptions.delete_customer),
    Route("GET", "/v1/payment_methods", customers.list_methods, LIST_PARAMS | {"customer", "type"}),
    Route("GET", "/v1/payment_methods/{}", customers.retrieve_method),
    Route("POST", "/v1/payment_methods/{}/detach", customers.detach),
    Route("POST", "/v1/products", catalog.create_product, catalog.PRODUCT),
    Route("GET", "/v1/products/{}", catalog.retrieve_product),
    Route("POST", "/v1/products/{}", catalog.update_product, catalog.PRODUCT),
    Route("POST", "/v1/prices", catalog.create_price, catalog.PRICE),
    Route("GET", "/v1/prices", catalog.list_prices, LIST_PARAMS | {"lookup_keys", "product"}),
    Route("GET", "/v1/prices/{}", catalog.retrieve_price),
    Route("POST", "/v1/prices/{}", catalog.update_price, catalog.PRICE_UPDATE),
    Route("POST", "/v1/checkout/sessions", checkout.create, checkout.CREATE),
    Route(
        "GET",
        "/v1/checkout/sessions",
        checkout.list_sessions,
        LIST_PARAMS | {"customer", "payment_intent", "status", "subscription"},
    ),
    Route("GET", "/v1/checkout/sessions/{}", checkout.retrieve),
    Route("POST", "/v1/checkout/sessions/{}/expire", checkout.expire),
    Route("POST", "/v1/payment_intents", payments.create, payments.CREATE),
    Route("GET", "/v1/payment_intents", payments.list_intents, LIST_PARAMS | {"customer"}),
    Route("GET", "/v1/payment_intents/{}", payments.retrieve, ONLY_EXPAND | {"client_secret"}),
    Route(
        "POST",
        "/v1/payment_intents/{}/confirm",
        collection.confirm_intent,
        ONLY_EXPAND | {"payment_method", "off_session"},
    ),
    Route("POST", "/v1/payment_intents/{}/cancel", payments.cancel, ONLY_EXPAND | {"cancellation_reason"}),
    Route("GET", "/v1/charges/{}", payments.retrieve_charge),
    Route("POST", "/v1/refunds", reversals.create_refund, reversals.CREATE),
    Route("GET", "/v1/refunds", reversals.list_refunds, LIST_PARAMS | {"charge", "payment_intent"}),
    Route("GET", "/v1/refunds/{}", reversals.retrieve_refund),
    Route("GET", "/v1/disputes", reversals.list_disputes, LIST_PARAMS | {"charge", "payment_intent"}),
    Route("GET", "/v1/disputes/{}", reversals.retrieve_dispute),
    Route("GET", "/v1/balance_transactions", payments.list_transactions, LIST_PARAMS | {"type", "source", "currency"}),
    Route("GET", "/v1/subscriptions", subscriptions.list_subscriptions, LIST_PARAMS | subscriptions.LIST),
    Route("GET", "/v1/subscriptions/{}", subscriptions.retrieve),
    Route("POST", "/v1/subscriptions/{}", subscriptions.update, subscriptions.UPDATE),
    Route("DELETE", "/v1/subscriptions/{}", subscriptions.cancel, subscriptions.CANCEL),
    Route("POST", "/v1/subscription_schedules", schedules.create, schedules.CREATE),
    Route("GET", "/v1/subscription_schedules", schedules.list_schedules, LIST_PARAMS | {"customer"}),
    Route("GET", "/v1/subscription_schedules/{}", schedules.retrieve),
    Route("POST", "/v1/subscription_schedules/{}", schedules.update, schedules.UPDATE),
    Route("POST", "/v1/subscription_schedules/{}/release", schedules.release),
    Route("POST", "/v1/subscription_schedules/{}/cancel", schedules.cancel),
    Route("POST", "/v1/invoices/create_preview", changes.preview, changes.PREVIEW),
    Route("GET", "/v1/invoices", invoices.list_invoices, LIST_PARAMS | invoices.LIST),
    Route("GET", "/v1/invoices/{}", invoices.retrieve),
    Route("GET", "/v1/invoices/{}/lines", invoices.list_lines, LIST_PARAMS - {"created"}),
    Route("POST", "/v1/invoices/{}/finalize", collection.finalize),
    Route("POST", "/v1/invoices/{}/pay", collection.pay, collection.PAY),
    Route("POST", "/v1/invoices/{}/void", collection.void),
    Route("POST", "/v1/invoices/{}/mark_uncollectible", collection.mark_uncollectible),
    Route("GET", "/v1/invoice_payments", invoices.list_payments, LIST_PARAMS | {"invoice", "payment", "status"}),
    Route("GET", "/v1/invoice_payments/{}", invoices.retrieve_payment),
    Route("POST", "/v1/billing_portal/configurations", portal.configure, portal.CONFIGURE - {"active"}),
    Route("GET", "/v1/billing_portal/configurations", portal.list_configurations, LIST_PARAMS | portal.LIST),
    Route("GET", "/v1/billing_portal/configurations/{}", portal.retrieve_configuration),
    Route("POST", "/v1/billing_portal/configurations/{}", portal.update_configuration, portal.CONFIGURE),
    Route("POST", "/v1/billing_portal/sessions", portal.create_session, portal.SESSION),
    Route("GET", "/v1/events", list_events, LIST_PARAMS | {"type", "types"}),
    Route("GET", "/v1/events/{}", retrieve_event),
)


def call(state: State, method: str, path: str, params: Record) -> tuple[Record, list[str]]:
    """Run the operation; return its answer and the paths to expand. Raises StripeError."""
    for route in ROUTES:
        ids = route.match(method, path)
        if ids is not None:
            check_known(params, route.params)
            return route.handler(state, ids, params), params.get("expand", [])
    raise StripeError(f"Unrecognized request URL ({method}: {path}).", status=404)
