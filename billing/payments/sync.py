"""What Stripe needs to sell tiers: a product for each, a price for each version and interval, and the portal's configuration.

Run it again after a tier's price or credit changed. Prices are found by their lookup keys, and never changed: those who subscribed
at an old one keep it. Twice is once.
"""

from dataclasses import dataclass

from django.conf import settings
from msgspec import Struct

from billing.models import Interval, StripePrice, Tier
from billing.payments import portal, stripe_api
from billing.payments.errors import NotAppliedError, StripeRefusedError
from billing.payments.money import CURRENCY, cents_of
from billing.selectors.tiers import public_tiers


class Product(Struct, frozen=True):
    """prod_…"""

    id: str


class ListedPrice(Struct, frozen=True):
    """price_…"""

    id: str
    product: str
    unit_amount: int | None = None
    currency: str = ""
    lookup_key: str | None = None
    active: bool = True


@dataclass(frozen=True, slots=True)
class Synced:
    """Something at Stripe, and whether it was made or was there."""

    what: str
    stripe_id: str
    is_new: bool


def sync() -> list[Synced]:
    """Make what is missing at Stripe, and return what there is. Raises PaymentsError."""
    done = []
    for tier in public_tiers():
        for interval, amount in ((Interval.MONTH, tier.monthly_price), (Interval.YEAR, tier.yearly_price)):
            if amount:
                done.append(_sync_price(tier, interval.value, amount))
    portal_id, is_new = portal.sync_portal()
    return [*done, Synced("customer portal", portal_id, is_new)]


def lookup_key(tier_slug: str, interval: str) -> str:
    """Return the name by which a tier's present price is found at Stripe."""
    return f"lumyx_{tier_slug}_{interval}"


def _sync_price(tier: Tier, interval: str, amount: int) -> Synced:
    what = f"{tier.name} by the {interval}"
    row = StripePrice.objects.filter(tier_slug=tier.slug, tier_version=tier.version, interval=interval).first()
    if row is not None and _is_there(row):
        return Synced(what, row.stripe_id, is_new=False)
    known = _listed(lookup_key(tier.slug, interval))
    is_reusable = (
        known is not None
        and (known.unit_amount, known.currency) == (cents_of(amount), CURRENCY)
        and not StripePrice.objects.filter(pk=known.id).exists()
    )
    price = known if known is not None and is_reusable else _make_price(tier, interval, amount)
    StripePrice.objects.update_or_create(
        tier_slug=tier.slug,
        tier_version=tier.version,
        interval=interval,
        defaults={"stripe_id": price.id, "amount": amount},
    )
    return Synced(what, price.id, is_new=not is_reusable)


def _is_there(row: StripePrice) -> bool:
    """Tell whether Stripe has a price that we know. Raises NotAppliedError for one of another account or mode."""
    try:
        stripe_api.send(ListedPrice, stripe_api.client().v1.prices.retrieve, row.stripe_id)
    except StripeRefusedError as error:
        if error.code != "resource_missing":
            raise
        raise NotAppliedError(
            f"Stripe has no price {row.stripe_id}: the key is of another account or mode than the one that was synced. "
            "Use its key, or an empty database."
        ) from error
    return True


def _make_price(tier: Tier, interval: str, amount: int) -> ListedPrice:
    key = f"{settings.LUMYX_SITE_URL}:{tier.slug}:{tier.version}:{interval}"
    return stripe_api.send(
        ListedPrice,
        stripe_api.client().v1.prices.create,
        params={
            "product": _product_of(tier),
            "currency": CURRENCY,
            "unit_amount": cents_of(amount),
            "recurring": {"interval": interval},
            "lookup_key": lookup_key(tier.slug, interval),
            "transfer_lookup_key": True,
            "nickname": f"{tier.name} v{tier.version} by the {interval}",
            "metadata": {"tier": tier.slug, "version": str(tier.version)},
        },
        key=f"price:{key}",
    )


def _product_of(tier: Tier) -> str:
    """Return the tier's product: that of its prices, else a new one."""
    for interval in Interval.values:
        known = _listed(lookup_key(tier.slug, interval))
        if known is not None:
            return known.product
    product = stripe_api.send(
        Product,
        stripe_api.client().v1.products.create,
        params={"name": f"LumyxAI {tier.name}", "metadata": {"tier": tier.slug}},
        key=f"product:{settings.LUMYX_SITE_URL}:{tier.slug}",
    )
    return product.id


def _listed(key: str) -> ListedPrice | None:
    found = stripe_api.listed(ListedPrice, stripe_api.client().v1.prices.list, params={"lookup_keys": [key]})
    return found[0] if found else None
