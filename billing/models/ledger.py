"""The books. Amounts are nano-USD in BIGINT. The rules between these rows are in billing/services/ledger.py; the database
keeps the rest: constraints here, the append-only trigger and the view of broken invariants in a migration.

PostgreSQL reads the text of every check anew in each statement that writes, and a list (``kind IN (...)``) has a long one: that
was a quarter of the cost of a settlement. So the checks below compare one by one. Holds and entries are written under the lock of
their wallet, which therefore exists; a foreign key would look it up again for every row (another sixth). In its place wallets and
grants cannot be deleted at all, and the view of broken invariants has a row for what belongs to none.
"""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from accounts.models import Workspace


class Wallet(models.Model):
    """Where a workspace's credit sits. posted = sum of entries = sum of grants' remaining; held = sum of open holds."""

    workspace = models.OneToOneField(Workspace, primary_key=True, on_delete=models.PROTECT, related_name="+")
    posted = models.BigIntegerField(default=0)
    held = models.BigIntegerField(default=0)
    #: The earliest expiry among its live grants: admission sweeps when it has passed. NULL: nothing expires.
    next_expiry = models.DateTimeField(null=True)
    frozen = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        # Changes seldom, so the frequent updates of posted and held stay HOT in spite of it.
        indexes = (
            models.Index(fields=["next_expiry"], condition=models.Q(next_expiry__isnull=False), name="wallet_due"),
        )
        constraints = (models.CheckConstraint(condition=models.Q(held__gte=0), name="wallet_held_not_negative"),)

    def __str__(self) -> str:
        return f"wallet of workspace {self.workspace_id}"


class GrantKind(models.TextChoices):
    """Where credit came from."""

    VIP = "vip"
    PROMO = "promo"
    PAID = "paid"
    OVERDRAFT = "overdraft"


class CreditGrant(models.Model):
    """Credit from one source. The overdraft pseudo-grant (one a wallet, remaining <= 0) makes debt an ordinary row."""

    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=10, choices=GrantKind)
    #: Burn-down order: priority, expires_at (NULL, never, is last), id.
    priority = models.SmallIntegerField()
    amount = models.BigIntegerField()
    remaining = models.BigIntegerField()
    #: When it came into the books. Never later than now: credit of the future is granted when its time has come, else
    #: posted would count what cannot be spent.
    effective_at = models.DateTimeField(db_default=Now())
    #: NULL: never expires.
    expires_at = models.DateTimeField(null=True)
    #: What created it; the idempotency key of grant().
    source = models.CharField(max_length=200, unique=True)
    note = models.CharField(max_length=500, blank=True, db_default="")

    class Meta:
        # None on `remaining`, not even as a condition: every charge changes it, and such an update would not be HOT.
        indexes = (models.Index(fields=["wallet", "priority", "expires_at", "id"], name="grant_burn_down"),)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(remaining__lte=models.F("amount"))
                & (models.Q(remaining__gte=0) | models.Q(kind="overdraft")),
                name="grant_remaining_in_range",
            ),
            models.UniqueConstraint(
                fields=["wallet"], condition=models.Q(kind="overdraft"), name="grant_one_overdraft"
            ),
            models.CheckConstraint(
                condition=(models.Q(amount__gt=0) & ~models.Q(kind="overdraft")) | models.Q(kind="overdraft", amount=0),
                name="grant_amount_positive",
            ),
            models.CheckConstraint(
                condition=models.Q(expires_at__isnull=True) | models.Q(kind="vip") | models.Q(kind="promo"),
                name="grant_paid_never_expires",
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} from {self.source}"


class HoldState(models.TextChoices):
    """A hold is open until exactly one of the others happens."""

    OPEN = "open"
    SETTLED = "settled"
    RELEASED = "released"
    EXPIRED = "expired"


class Hold(models.Model):
    """Credit set aside for one admitted request (amount 0 for a free model). Its id is the request's id."""

    id = models.UUIDField(primary_key=True)
    # Looked up by its id alone. An index on the wallet would be one more to write, and an old plan might prefer it to the key.
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    amount = models.BigIntegerField()
    state = models.CharField(max_length=8, choices=HoldState, db_default="open")
    #: What was charged, once settled.
    actual = models.BigIntegerField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    #: For the usage event that the sweeper writes when nobody else does. Ids without foreign keys: rows above may go.
    api_key_id = models.BigIntegerField(null=True)
    model = models.CharField(max_length=200)
    #: The daily quota it counted against (NULL: a paid model), given back when nothing came out.
    quota_subject = models.CharField(max_length=32, null=True)  # noqa: DJ001  absent is not empty here
    quota_day = models.DateField(null=True)
    #: The rows of BudgetUse that it counts in (NULL: none), whatever period it ends in.
    budget_ids = ArrayField(models.BigIntegerField(), null=True)

    class Meta:
        indexes = (
            models.Index(fields=["expires_at"], condition=models.Q(state="open"), name="hold_open"),
            models.Index(fields=["wallet"], condition=models.Q(state="open"), name="hold_open_by_wallet"),
        )
        constraints = (
            models.CheckConstraint(condition=models.Q(amount__gte=0), name="hold_amount_not_negative"),
            models.CheckConstraint(
                condition=models.Q(state="settled", actual__isnull=False, actual__gte=0, actual__lte=models.F("amount"))
                | (
                    models.Q(actual__isnull=True)
                    & (models.Q(state="open") | models.Q(state="released") | models.Q(state="expired"))
                ),
                name="hold_actual_when_settled",
            ),
            models.CheckConstraint(
                condition=models.Q(quota_subject__isnull=True, quota_day__isnull=True)
                | models.Q(quota_subject__isnull=False, quota_day__isnull=False),
                name="hold_quota_whole",
            ),
        )

    def __str__(self) -> str:
        return f"hold {self.id}"


class EntryKind(models.TextChoices):
    """What a line in the books says."""

    GRANT = "grant"
    USAGE = "usage"
    EXPIRE = "expire"
    CLAWBACK = "clawback"
    DEBT_REPAY = "debt_repay"
    ADJUST = "adjust"


class LedgerEntry(models.Model):
    """A line in the books: a signed amount on a wallet's side, against a contra account. Never edited, never deleted."""

    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    grant = models.ForeignKey(
        CreditGrant, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    kind = models.CharField(max_length=12, choices=EntryKind)
    #: The other side: issued:<kind of grant>, adjustment, revenue, breakage, returned, debt.
    contra = models.CharField(max_length=20)
    amount = models.BigIntegerField()
    #: Idempotency key of the write: the request's id for usage, the source for grants, and so on.
    ref = models.CharField(max_length=200)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "ledger entries"
        indexes = (models.Index(fields=["wallet", "-id"], name="entry_by_wallet"),)
        constraints = (
            models.CheckConstraint(condition=~models.Q(amount=0), name="entry_amount_not_zero"),
            models.CheckConstraint(
                condition=models.Q(kind="usage", amount__lt=0)
                | models.Q(kind="grant", amount__gt=0)
                | models.Q(kind="expire", amount__lt=0)
                | models.Q(kind="clawback", amount__lt=0)
                | models.Q(kind="debt_repay")
                | models.Q(kind="adjust"),
                name="entry_sign_of_kind",
            ),
            models.UniqueConstraint(fields=["ref", "kind", "grant"], name="entry_once"),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.amount} ({self.ref})"


class DailyQuota(models.Model):
    """Requests to free models that a subject used on a UTC day of the database's clock. No reset job: a day is a row."""

    pk = models.CompositePrimaryKey("subject", "day")
    #: "w:<workspace id>" on a VIP tier, "u:<user id>" for all Free workspaces of one owner.
    subject = models.CharField(max_length=32)
    day = models.DateField()
    used = models.IntegerField(default=0)

    class Meta:
        constraints = (models.CheckConstraint(condition=models.Q(used__gte=0), name="quota_used_not_negative"),)

    def __str__(self) -> str:
        return f"{self.subject} on {self.day}: {self.used}"


class BudgetUse(models.Model):
    """What was used of a budget in one period. No reset job: a period is a row. It changes under its wallet's lock only.

    held = sum of the open holds that name it; spent = sum of what those that name it were charged.
    """

    # Written under the lock of the wallet, as holds are: no foreign key.
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    #: "k:<api key id>", or "m:<user id>": all keys that the person made in this workspace.
    subject = models.CharField(max_length=32)
    period = models.CharField(max_length=5)
    #: The UTC day of the database's clock on which the period began.
    start = models.DateField()
    held = models.BigIntegerField(default=0)
    spent = models.BigIntegerField(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["wallet", "subject", "period", "start"], name="budget_use_once"),
            models.CheckConstraint(
                condition=models.Q(held__gte=0) & models.Q(spent__gte=0), name="budget_use_not_negative"
            ),
        )

    def __str__(self) -> str:
        return f"{self.subject} by {self.period} from {self.start}: {self.spent}"
