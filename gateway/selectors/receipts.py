"""Receipts of ended requests: the usage event, the price version that was charged, and the grants that paid."""

import uuid

from billing.rating import Rates, TokenUsage
from billing.selectors.grants import grants_used
from gateway.models import CatalogModel, Price, UsageEvent
from gateway.protocols.receipt import DetailsGoneError, PriceVersion, Receipt
from gateway.selectors.catalog import rates_of
from gateway.selectors.usage_retention import details_are_gone, oldest_month_kept

FREE = Rates(input=0, output=0)


def receipt_of(workspace_id: int, *, request_id: uuid.UUID) -> Receipt | None:
    """Return the receipt of a workspace's request; None for an unknown one, another's, and one that has not ended.

    Raises DetailsGoneError for an id of a month that was dropped, whoever's it was.
    """
    event = UsageEvent.objects.filter(workspace_id=workspace_id, pk=request_id).first()
    if event is None:
        month = oldest_month_kept()
        if month is not None and details_are_gone(request_id):
            raise DetailsGoneError(month)
        return None
    # A free model costs nothing, whatever price it had before.
    price = None if event.is_free else _price(event.price_id)
    rates = FREE if event.is_free else None if price is None else price.rates
    return Receipt(
        id=event.id,
        model=event.model,
        kind=CatalogModel.objects.filter(public_id=event.model).values_list("kind", flat=True).first(),
        usage=TokenUsage(
            input=event.input_tokens,
            cache_read=event.cache_read_tokens,
            cache_write=event.cache_write_tokens,
            output=event.output_tokens,
            reasoning=event.reasoning_tokens,
        ),
        usage_source=event.usage_source,
        flags=tuple(event.flags.split(",")) if event.flags else (),
        price=price,
        rates=rates,
        charge=event.charge,
        absorbed=event.absorbed,
        payments=tuple(grants_used(workspace_id, request_id=request_id)),
        status=event.status,
        http_status=event.http_status,
        error_code=event.error_code,
        is_stream=event.is_stream,
        is_free=event.is_free,
        started_at=event.started_at,
        first_token_ms=event.first_token_ms,
        duration_ms=event.duration_ms,
    )


def _price(price_id: int | None) -> PriceVersion | None:
    row = None if price_id is None else Price.objects.filter(pk=price_id).first()
    return None if row is None else PriceVersion(row.pk, row.version, row.created_at, rates_of(row))
