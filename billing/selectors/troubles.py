"""What of the money's machinery waits for an operator: events that were not applied, comparisons of the books, mail."""

import datetime as dt
from dataclasses import dataclass

from billing.models import EventState, Notice, Reconciliation, StripeEvent, Wallet
from lumyx.lib import clock


@dataclass(frozen=True, slots=True)
class Comparison:
    """The newest nightly comparison. ``is_clean`` None: it runs, or it broke off."""

    id: int
    started_at: dt.datetime
    is_clean: bool | None

    @property
    def is_late(self) -> bool:
        """Whether the one of last night is missing."""
        return clock.now() - self.started_at > dt.timedelta(hours=36)


def failed_events() -> int:
    """Return how many events of Stripe failed, and wait to be applied again."""
    return StripeEvent.objects.filter(state=EventState.FAILED).count()


def late_events() -> int:
    """Return how many events have waited for more than ten minutes."""
    since = clock.now() - dt.timedelta(minutes=10)
    return StripeEvent.objects.filter(state=EventState.NEW, received_at__lt=since).count()


def newest_comparison() -> Comparison | None:
    """Return the newest comparison; None: there was none."""
    row = Reconciliation.objects.order_by("-started_at").first()
    return Comparison(row.pk, row.started_at, row.is_clean) if row else None


def notices_given_up() -> int:
    """Return how many e-mails of the last 30 days are tried no more."""
    return Notice.objects.filter(sent_at__isnull=True, gave_up_at__gte=clock.now() - dt.timedelta(days=30)).count()


def frozen_wallets() -> int:
    """Return how many wallets are frozen."""
    return Wallet.objects.filter(frozen=True).count()
