"""Prices, and what routes cost us, are versions: a change is a new row, so that what was charged can always be explained."""

from dataclasses import asdict

from django.db import transaction

from billing.rating import Rates
from gateway.models import CatalogModel, Price, Route, RouteCost


class PriceMovedError(Exception):
    """The price became another one after the change was looked at."""


def change_price(model: CatalogModel, *, rates: Rates, is_free: bool, seen_version: int) -> tuple[Price, bool]:
    """Make ``rates`` (nano-USD per million tokens) the model's price, and the model free or not.

    Returns the current row and whether it is new. Raises PriceMovedError where the price is not ``seen_version`` (0: none) any
    more: the change was made against another one.
    """
    with transaction.atomic():
        row = CatalogModel.objects.select_for_update(no_key=True).get(pk=model.pk)
        current = Price.objects.filter(model=row).order_by("-version").first()
        version = current.version if current else 0
        if version != seen_version:
            raise PriceMovedError(f"The price became version {version} in the meantime. Look at the change again.")
        if row.is_free != is_free:
            row.is_free = is_free
            row.save(update_fields=["is_free"])
        return set_price(row, rates=rates)


def set_price(model: CatalogModel, *, rates: Rates) -> tuple[Price, bool]:
    """Make ``rates`` (nano-USD per million tokens) the model's price; returns the current row and whether it is new.

    The same rates as now change nothing.
    """
    with transaction.atomic():
        # Two operators at once get two versions, not one error.
        CatalogModel.objects.select_for_update(no_key=True).get(pk=model.pk)
        current = Price.objects.filter(model=model).order_by("-version").first()
        if current and _says(current, rates):
            return current, False
        version = current.version + 1 if current else 1
        return Price.objects.create(model=model, version=version, **asdict(rates)), True


def set_route_cost(route: Route, *, rates: Rates) -> tuple[RouteCost, bool]:
    """Make ``rates`` (nano-USD per million tokens) what the route costs us; returns the current row and whether it is new.

    The same rates as now change nothing. Running processes settle with a new version within a second.
    """
    with transaction.atomic():
        Route.objects.select_for_update(no_key=True).get(pk=route.pk)
        current = RouteCost.objects.filter(route=route).order_by("-version").first()
        if current and _says(current, rates):
            return current, False
        version = current.version + 1 if current else 1
        return RouteCost.objects.create(route=route, version=version, **asdict(rates)), True


def _says(row: Price | RouteCost, rates: Rates) -> bool:
    return all(getattr(row, name) == value for name, value in asdict(rates).items())
