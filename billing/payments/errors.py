"""What can go wrong with payments, in words for those who read it."""


class PaymentsError(Exception):
    """Payments refuse something, or Stripe does; nothing was changed in the books."""


class PaymentsOffError(PaymentsError):
    """This installation has no Stripe keys."""


class StripeUnreachableError(PaymentsError):
    """Stripe did not answer, or answered that it cannot now: the same call may work later."""


class BusyError(PaymentsError):
    """Something else is being done with the same workspace's payments: the same call may work later."""


class NotYetError(PaymentsError):
    """Stripe has not finished what this follows from: the same event may be applied a moment later."""


class StripeRefusedError(PaymentsError):
    """Stripe refused a call. ``code`` is Stripe's."""

    def __init__(self, message: str, *, code: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class CardError(StripeRefusedError):
    """A card was declined, or its bank wants to see its owner (``code`` authentication_required)."""


class NotAppliedError(PaymentsError):
    """Something that Stripe says cannot be brought into the books; an operator must look at it."""


class NotOursError(PaymentsError):
    """Something that Stripe says is not about a workspace of this installation."""
