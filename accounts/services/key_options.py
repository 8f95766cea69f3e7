"""What people may ask of an API key, checked and put into one form. Pure but for the clock."""

import datetime as dt
import ipaddress
import re
from collections.abc import Iterable
from typing import Any

from accounts.budgets import Budget
from accounts.models import ApiKey
from lumyx.lib import clock
from lumyx.lib.money import MAX_NANO, nano_to_usd

NAME_MAX_LENGTH = 80
#: How a model's public id looks (the catalog has the same rule), and how many a key may list; "provider/*" is all of a provider's.
MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}")
ALL_OF_PROVIDER = "/*"
MODELS_MAX = 100
ADDRESSES_MAX = 100
PACE_MAX = 1_000_000
#: What an edit sets, in the order in which it is told.
OPTIONS = (
    *("name", "expires_at", "allowed_models", "allowed_addresses", "requests_per_minute"),
    *("budget_nano", "budget_period"),
)


class InvalidApiKeyOptionError(ValueError):
    """A name, expiry, list, pace or budget that a key cannot have; the message says what it may be."""


def clean_options(
    *,
    name: str,
    expires_at: dt.datetime | None,
    allowed_models: Iterable[str],
    allowed_addresses: Iterable[str],
    requests_per_minute: int,
    budget: Budget | None,
    present: ApiKey | None = None,
) -> dict[str, Any]:
    """Return the columns of a key's options. An expiry that ``present`` has already may stay, though it is past.

    Raises InvalidApiKeyOptionError.
    """
    is_kept = present is not None and expires_at == present.expires_at
    return {
        "name": clean_name(name),
        "expires_at": expires_at if is_kept else clean_expiry(expires_at),
        "allowed_models": clean_models(allowed_models),
        "allowed_addresses": clean_addresses(allowed_addresses),
        "requests_per_minute": clean_pace(requests_per_minute),
        **budget_columns(budget),
    }


def clean_name(name: str) -> str:
    """Return a name without blanks around it."""
    trimmed = name.strip()
    if not trimmed or len(trimmed) > NAME_MAX_LENGTH or not trimmed.isprintable():
        raise InvalidApiKeyOptionError(f"A key's name has 1 to {NAME_MAX_LENGTH} characters, all of them printable.")
    return trimmed


def clean_expiry(expires_at: dt.datetime | None) -> dt.datetime | None:
    """Return a time in the future, in UTC; None: never."""
    if expires_at is None:
        return None
    if expires_at.tzinfo is None:
        raise InvalidApiKeyOptionError("The expiry needs a time zone, for example 2030-01-31T00:00:00Z.")
    if expires_at <= clock.now():
        raise InvalidApiKeyOptionError(f"The expiry {expires_at.isoformat()} is in the past.")
    try:
        return clock.in_utc(expires_at)
    except ValueError as error:
        raise InvalidApiKeyOptionError(f"The expiry cannot be kept: {error}") from error


def clean_models(models: Iterable[str]) -> list[str]:
    """Return ids, and "provider/*", each once."""
    cleaned = list(dict.fromkeys(model.strip() for model in models))
    for model in cleaned:
        if len(model) > 200 or not MODEL_ID.fullmatch(model.removesuffix(ALL_OF_PROVIDER)):
            raise InvalidApiKeyOptionError(
                f"{model!r} cannot be a model's id. All models of one provider are provider/*."
            )
    if len(cleaned) > MODELS_MAX:
        raise InvalidApiKeyOptionError(f"A key may list at most {MODELS_MAX} models; leave the list empty for all.")
    return cleaned


def clean_addresses(addresses: Iterable[str]) -> list[str]:
    """Return networks in CIDR form, each once; one address is a network of one."""
    cleaned: list[str] = []
    for text in filter(None, (address.strip() for address in addresses)):
        try:
            network = ipaddress.ip_network(text)
        except ValueError as error:
            raise InvalidApiKeyOptionError(
                f"{text[:60]!r} is no address or network: {error}. Write 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32."
            ) from error
        if "%" in text:
            raise InvalidApiKeyOptionError(f"{text[:60]!r} names an interface. Write the address alone.")
        cleaned.append(str(network))
    cleaned = list(dict.fromkeys(cleaned))
    if len(cleaned) > ADDRESSES_MAX:
        raise InvalidApiKeyOptionError(
            f"A key may list at most {ADDRESSES_MAX} networks; leave the list empty for all."
        )
    return cleaned


def clean_pace(requests_per_minute: int) -> int:
    """Return requests a minute; 0: no pace of its own."""
    if not 0 <= requests_per_minute <= PACE_MAX:
        raise InvalidApiKeyOptionError(f"The pace of a key is 0 (none of its own) to {PACE_MAX:,} requests a minute.")
    return requests_per_minute


def budget_columns(budget: Budget | None) -> dict[str, Any]:
    """Return the two columns of a budget. Raises InvalidApiKeyOptionError."""
    if budget is None:
        return {"budget_nano": None, "budget_period": ""}
    if not 0 < budget.amount <= MAX_NANO:
        raise InvalidApiKeyOptionError("A budget is more than $0. To let a key spend nothing, switch it off.")
    return {"budget_nano": budget.amount, "budget_period": budget.period.value}


def option_in_words(name: str, value: Any) -> str:
    """Return an option's value as the audit log keeps it."""
    match value:
        case None | "" | [] | 0:
            return "none"
        case list():
            return ", ".join(value)
        case dt.datetime():
            return value.isoformat()
        case int() if name == "budget_nano":
            return f"${nano_to_usd(value)}"
        case _:
            return str(value)
