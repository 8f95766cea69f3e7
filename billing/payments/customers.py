"""Which customer at Stripe pays for which workspace. Its row is the lock under which everything of a workspace is applied."""

import hashlib
import json

from django.conf import settings
from django.db import OperationalError, connection, transaction

from accounts.models import Workspace
from billing.models import StripeCustomer
from billing.payments import stripe_api
from billing.payments.errors import BusyError, NotOursError
from billing.payments.objects import Customer


def customer_for(workspace: Workspace, *, email: str) -> str:
    """Return the customer of a workspace, made at Stripe at the first purchase. Raises PaymentsError."""
    known = StripeCustomer.objects.filter(workspace=workspace).first()
    if known is not None and not known.is_deleted:
        return known.stripe_id
    metadata = {"workspace_id": str(workspace.pk), "workspace": workspace.slug, "site": settings.LUMYX_SITE_URL}
    params = {"name": workspace.name, "email": email, "metadata": metadata}
    # Another person may ask at the same time or after no answer: Stripe refuses a key with other parameters, so they are in it.
    digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()[:16]
    old = known.stripe_id if known else ""
    key = f"customer:{settings.LUMYX_SITE_URL}:{workspace.pk}:{old}:{digest}"
    made = stripe_api.send(Customer, stripe_api.client().v1.customers.create, params=params, key=key)
    # The first one stays: somebody may be paying as it already.
    if known is None:
        StripeCustomer.objects.get_or_create(workspace=workspace, defaults={"stripe_id": made.id})
    else:
        replaced = StripeCustomer.objects.filter(workspace=workspace, stripe_id=old, is_deleted=True)
        replaced.update(stripe_id=made.id, is_deleted=False)
    return StripeCustomer.objects.get(workspace=workspace).stripe_id


def lock_customer(customer_id: str | None, *, workspace_id: int | None = None) -> StripeCustomer:
    """Lock a customer until the transaction ends, and return it.

    ``workspace_id`` is of what is known to be that workspace's, though its customer was deleted at Stripe and replaced since:
    then the present one is locked.

    Raises:
        NotOursError: no workspace has this customer.
        BusyError: somebody else has it locked for long.
    """
    row = None
    if customer_id:
        let_stripe_take_its_time()
        try:
            rows = StripeCustomer.objects.select_for_update(of=("self",))
            row = rows.filter(stripe_id=customer_id).first()
            if row is None and workspace_id is not None:
                row = rows.filter(workspace_id=workspace_id).first()
        except OperationalError as error:
            raise BusyError(
                "Another change of this workspace's payments is under way. Try again in a moment."
            ) from error
    if row is None:
        raise NotOursError(f"The customer {customer_id or '(none)'} pays for no workspace here.")
    return row


def let_stripe_take_its_time() -> None:
    """Let this transaction wait for Stripe's answers, with the SDK's repetitions, longer than the database lets others."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 90000")


def apply_customer(customer_id: str) -> None:
    """Note that a customer was deleted: the next purchase makes another."""
    with transaction.atomic():
        row = lock_customer(customer_id)
        customer = stripe_api.send(Customer, stripe_api.client().v1.customers.retrieve, customer_id)
        if customer.deleted != row.is_deleted:
            row.is_deleted = customer.deleted
            row.save(update_fields=["is_deleted"])
