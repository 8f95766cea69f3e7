"""The customer portal's configurations and sessions, and what a customer does there."""

import copy
from typing import Any

from rig.stripe import cards, subscriptions
from rig.stripe.customers import attach, find_live
from rig.stripe.forms import check_known, is_true, list_page, merge_metadata, require
from rig.stripe.lifecycle import ENDED, announce
from rig.stripe.state import Record, State, StripeError

CONFIGURE = frozenset(
    {"active", "business_profile", "default_return_url", "expand", "features", "login_page", "metadata", "name"}
)  # fmt: skip
SESSION = frozenset({"configuration", "customer", "expand", "flow_data", "locale", "return_url"})
FEATURES: dict[str, Record] = {
    "customer_update": {"allowed_updates": [], "enabled": False},
    "invoice_history": {"enabled": False},
    "payment_method_update": {"enabled": False, "payment_method_configuration": None},
    "subscription_cancel": {
        "enabled": False, "mode": "at_period_end", "proration_behavior": "none",
        "cancellation_reason": {"enabled": False, "options": []},
    },
    "subscription_pause": {"enabled": False},
    "subscription_update": {
        "enabled": False, "default_allowed_updates": [], "products": [], "proration_behavior": "none",
        "billing_cycle_anchor": None, "schedule_at_period_end": {"conditions": []},
        "trial_update_behavior": "end_trial",
    },
}  # fmt: skip
LIST = frozenset({"active", "is_default"})
FLOWS = ("payment_method_update", "subscription_cancel")
SAVED_IN_DASHBOARD = ("customer_update", "invoice_history", "payment_method_update", "subscription_cancel")


def configure(state: State, _ids: list[str], params: Record) -> Record:
    """Create a configuration. Raises StripeError."""
    require(params, "features")
    return _add(state, params, is_default=False)


def _add(state: State, params: Record, *, is_default: bool) -> Record:
    configuration = state.add(
        "billing_portal.configuration", "bpc", active=True, application=None, features=copy.deepcopy(FEATURES),
        business_profile={"headline": None, "privacy_policy_url": None, "terms_of_service_url": None}, metadata={},
        default_return_url=None, is_default=is_default, login_page={"enabled": False, "url": None}, name=None,
        updated=state.now(),
    )  # fmt: skip
    _set(configuration, params)
    state.emit("billing_portal.configuration.created", configuration)
    return configuration


def _set(configuration: Record, params: Record) -> None:
    profile = params.get("business_profile", {})
    check_known(profile, configuration["business_profile"], "business_profile")
    configuration["business_profile"] |= profile
    given = params.get("features", {})
    check_known(given, FEATURES, "features")
    for name, feature in given.items():
        check_known(feature, FEATURES[name], f"features[{name}]")
        configuration["features"][name] |= {key: _read(value) for key, value in feature.items()}
    for name in ("default_return_url", "name"):
        if name in params:
            configuration[name] = params[name] or None
    if "login_page" in params:
        configuration["login_page"] = {"enabled": is_true(params["login_page"].get("enabled")), "url": None}
    if "active" in params:
        configuration["active"] = is_true(params["active"])
    merge_metadata(configuration, params)


def _read(value: Any) -> Any:
    """Return a form's value with its flags as booleans."""
    if isinstance(value, dict):
        return {key: _read(inner) for key, inner in value.items()}
    return value == "true" if value in ("true", "false") else value


def update_configuration(state: State, ids: list[str], params: Record) -> Record:
    """Change a configuration."""
    configuration = state.find("billing_portal.configuration", ids[0])
    _set(configuration, params)
    configuration["updated"] = state.now()
    state.emit("billing_portal.configuration.updated", configuration)
    return configuration


def retrieve_configuration(state: State, ids: list[str], _params: Record) -> Record:
    """Return a configuration."""
    return state.find("billing_portal.configuration", ids[0])


def list_configurations(state: State, _ids: list[str], params: Record) -> Record:
    """List configurations, the default one or the active ones when asked."""
    kept = state.all("billing_portal.configuration")
    for name in ("active", "is_default"):
        kept = [row for row in kept if name not in params or row[name] == is_true(params[name])]
    return list_page(kept, params, "/v1/billing_portal/configurations")


def _find_default(state: State) -> Record:
    """Return the default configuration, made at first use as if it had been saved in Stripe's dashboard."""
    for configuration in state.all("billing_portal.configuration"):
        if configuration["is_default"]:
            return configuration
    features = {name: {"enabled": "true"} for name in SAVED_IN_DASHBOARD}
    return _add(state, {"features": features}, is_default=True)


def create_session(state: State, _ids: list[str], params: Record) -> Record:
    """Open the portal for a customer. Raises StripeError."""
    customer = find_live(state, require(params, "customer"))
    if "configuration" in params:
        configuration = state.find("billing_portal.configuration", params["configuration"], "configuration")
        if not configuration["active"]:
            raise StripeError("The portal configuration is not active.", param="configuration")
    else:
        configuration = _find_default(state)
    session = state.add(
        "billing_portal.session", "bps", configuration=configuration["id"], customer=customer["id"],
        flow=_read_flow(state, customer, params.get("flow_data")), locale=params.get("locale"), on_behalf_of=None,
        return_url=params.get("return_url") or configuration["default_return_url"],
    )  # fmt: skip
    session["url"] = f"{state.base_url}/p/session/{session['id']}"
    return session


def _read_flow(state: State, customer: Record, given: Any) -> Record | None:
    if not given:
        return None
    check_known(given, ("after_completion", "subscription_cancel", "type"), "flow_data")
    if require(given, "type") not in FLOWS:
        raise StripeError(f"This fake serves the flows {', '.join(FLOWS)} only.", param="flow_data[type]")
    flow: Record = {"type": given["type"], "subscription_cancel": None}
    flow["after_completion"] = given.get("after_completion", {"type": "portal_homepage"})
    if given["type"] == "subscription_cancel":
        wanted = require(require(given, "subscription_cancel"), "subscription")
        if state.find("subscription", wanted, "subscription")["customer"] != customer["id"]:
            raise StripeError("The subscription is another customer's.", param="flow_data[subscription_cancel]")
        flow["subscription_cancel"] = {"subscription": wanted, "retention": None}
    return flow


def find_running(state: State, customer: str) -> list[Record]:
    """Return a customer's subscriptions that have not ended, newest first."""
    rows = [row for row in state.all("subscription") if row["customer"] == customer]
    return [row for row in rows if row["status"] not in ENDED]


def change_card(state: State, customer_id: str, number: str) -> Record:
    """Save a card as the customer's default and let its subscriptions use it. Raises StripeError (402)."""
    if number == cards.DECLINES:
        raise StripeError("Your card was declined.", status=402, kind="card_error", code="card_declined")
    method, customer = cards.take(state, number), find_live(state, customer_id)
    attach(state, method, customer_id)
    before = {"invoice_settings": customer["invoice_settings"]}
    customer["invoice_settings"] = customer["invoice_settings"] | {"default_payment_method": method["id"]}
    state.emit("customer.updated", customer, before)
    for subscription in find_running(state, customer_id):
        old = copy.deepcopy(subscription)
        subscription["default_payment_method"] = method["id"]
        announce(state, subscription, old)
    return method


def act(state: State, session: Record, form: Record) -> None:
    """Do what a customer asked for on the portal's page: card, cancel or resume. Raises StripeError."""
    features = state.objects[session["configuration"]]["features"]
    action, wanted = form.get("action"), form.get("subscription", "")
    if action == "card" and features["payment_method_update"]["enabled"]:
        change_card(state, session["customer"], form.get("number", "").replace(" ", ""))
        return
    if action not in ("cancel", "resume") or not features["subscription_cancel"]["enabled"]:
        raise StripeError("The portal does not offer this.", param="action")
    if state.find("subscription", wanted)["customer"] != session["customer"]:
        raise StripeError(f"No such subscription: '{wanted}'", status=404, code="resource_missing", param="id")
    if action == "cancel" and features["subscription_cancel"]["mode"] == "immediately":
        subscriptions.cancel(state, [wanted], {})
    else:
        subscriptions.update(state, [wanted], {"cancel_at_period_end": str(action == "cancel")})
