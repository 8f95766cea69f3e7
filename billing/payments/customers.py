"""Which customer at Stripe pays for which workspace. Its row is the lock under which everything of a workspace is applied."""

from django.conf import settings
from django.db import transaction

from accounts.models import Workspace
from billing.models import StripeCustomer
from billing.payments import stripe_api
from billing.payments.errors import NotOursError
from billing.payments.objects import Charge, Customer, PaymentIntent


def customer_for(workspace: Workspace, *, email: str) -> str:
    """Return the customer of a workspace, made at Stripe at the first purchase. Raises PaymentsError."""
    known = StripeCustomer.objects.filter(workspace=workspace).first()
    if known is not None and not known.is_deleted:
        return known.stripe_id
    made = stripe_api.send(
        Customer,
        stripe_api.client().v1.customers.create,
        params={
            "name": workspace.name,
            "email": email,
            "metadata": {
                "workspace_id": str(workspace.pk),
                "workspace": workspace.slug,
                "site": settings.LUMYX_SITE_URL,
            },
        },
        key=f"customer:{settings.LUMYX_SITE_URL}:{workspace.pk}:{known.stripe_id if known else ''}",
    )
    StripeCustomer.objects.update_or_create(workspace=workspace, defaults={"stripe_id": made.id, "is_deleted": False})
    return made.id


def lock_customer(customer_id: str | None) -> StripeCustomer:
    """Lock a customer until the transaction ends, and return it. Raises NotOursError for one that no workspace has."""
    row = None
    if customer_id:
        row = StripeCustomer.objects.select_for_update(of=("self",)).filter(stripe_id=customer_id).first()
    if row is None:
        raise NotOursError(f"The customer {customer_id or '(none)'} pays for no workspace here.")
    return row


def apply_customer(customer_id: str) -> None:
    """Note that a customer was deleted: the next purchase makes another."""
    with transaction.atomic():
        row = lock_customer(customer_id)
        customer = stripe_api.send(Customer, stripe_api.client().v1.customers.retrieve, customer_id)
        if customer.deleted != row.is_deleted:
            row.is_deleted = customer.deleted
            row.save(update_fields=["is_deleted"])


def charge_of(intent: PaymentIntent) -> Charge | None:
    """Return the charge of a payment that succeeded."""
    if intent.latest_charge is None:
        return None
    return stripe_api.send(Charge, stripe_api.client().v1.charges.retrieve, intent.latest_charge)
