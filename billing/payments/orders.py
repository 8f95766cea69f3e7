"""Orders of credit: found by what their sessions and payments carry, and ended once."""

import uuid

from billing.models import CreditOrder, OrderState
from billing.payments.errors import NotAppliedError, NotOursError
from lumyx.lib import clock

#: What checkout sessions and payments carry, so that they find their order.
ORDER_ID = "order_id"


def order_of(order_id: str | None) -> CreditOrder:
    """Return the order with this id, locked. Raises NotOursError without an id, NotAppliedError for an unknown one."""
    if not order_id:
        raise NotOursError("It carries no order of ours.")
    try:
        return CreditOrder.objects.select_for_update(of=("self",)).get(pk=uuid.UUID(order_id))
    except (ValueError, CreditOrder.DoesNotExist):
        raise NotAppliedError(f"There is no order {order_id}.") from None


def workspace_of(order_id: str) -> int | None:
    """Return whose order this is; None for no order of ours."""
    try:
        return CreditOrder.objects.filter(pk=uuid.UUID(order_id)).values_list("workspace_id", flat=True).first()
    except ValueError:
        return None


def finish_order(order: CreditOrder, state: OrderState, *, error: str = "") -> bool:
    """End an order; a paid one stays paid. False if nothing changed."""
    if order.state in {state, OrderState.PAID}:
        return False
    order.state, order.error, order.finished_at = state, error[:60], clock.now()
    order.save(update_fields=["state", "error", "finished_at"])
    return True
