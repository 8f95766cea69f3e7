"""Prices are versions: a change is a new row, so that what was charged can always be explained."""

from django.db import transaction

from billing.rating import Rates
from gateway.models import CatalogModel, Price


def set_price(model: CatalogModel, *, rates: Rates) -> tuple[Price, bool]:
    """Make ``rates`` (nano-USD per million tokens) the model's price; returns the current row and whether it is new.

    The same rates as now change nothing.
    """
    with transaction.atomic():
        # Two operators at once get two versions, not one error.
        CatalogModel.objects.select_for_update(no_key=True).get(pk=model.pk)
        current = Price.objects.filter(model=model).order_by("-version").first()
        wanted = {
            "input": rates.input,
            "output": rates.output,
            "cache_read": rates.cache_read,
            "cache_write": rates.cache_write,
        }
        if current and all(getattr(current, name) == value for name, value in wanted.items()):
            return current, False
        version = current.version + 1 if current else 1
        return Price.objects.create(model=model, version=version, **wanted), True
