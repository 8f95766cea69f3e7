"""Corrections and refunds by operators as rows that stay as they are, and what adjustments must agree with in the books."""

from importlib import import_module

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

# Row triggers only: a TRUNCATE trigger would stop the flush between transactional tests. No REVOKE as on entries: these tables have
# foreign keys, and PostgreSQL needs the owner's right to lock their rows when it deletes any user.
KEEP = """
CREATE FUNCTION billing_refuse_adjustment_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'Adjustments are append-only: % is refused. Correct with another adjustment.', TG_OP
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER adjustment_append_only BEFORE UPDATE OR DELETE ON billing_adjustment
    FOR EACH ROW EXECUTE FUNCTION billing_refuse_adjustment_change();

CREATE FUNCTION billing_refuse_refund_request_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.refund_id = '' AND OLD.error = ''
            AND to_jsonb(NEW) - 'refund_id' - 'error' = to_jsonb(OLD) - 'refund_id' - 'error' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'Refund requests are append-only but for their one answer: % is refused.', TG_OP
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER refund_request_append_only BEFORE UPDATE OR DELETE ON billing_refundrequest
    FOR EACH ROW EXECUTE FUNCTION billing_refuse_refund_request_change();
"""

UNDO_KEEP = """
DROP TRIGGER refund_request_append_only ON billing_refundrequest;
DROP FUNCTION billing_refuse_refund_request_change();
DROP TRIGGER adjustment_append_only ON billing_adjustment;
DROP FUNCTION billing_refuse_adjustment_change();
"""

UNDO_VIEW = import_module("billing.migrations.0007_nothing_is_deleted").VIEW

# Beside what it checked before: an adjustment is what its entries say.
ADJUSTMENTS = """
UNION ALL
SELECT 'adjustment_is_its_entries', coalesce(a.wallet_id, e.wallet_id), coalesce(a.ref, e.ref),
       coalesce(a.amount, 0), coalesce(e.total, 0)
FROM (SELECT 'adjustment:' || source AS ref, workspace_id AS wallet_id, amount FROM billing_adjustment) a
FULL JOIN (SELECT ref, wallet_id, sum(amount) AS total FROM billing_ledgerentry WHERE contra = 'adjustment'
           GROUP BY ref, wallet_id) e ON e.ref = a.ref AND e.wallet_id = a.wallet_id
WHERE coalesce(a.amount, 0) <> coalesce(e.total, 0);
"""
VIEW = UNDO_VIEW.rstrip().removesuffix(";") + ADJUSTMENTS


class Migration(migrations.Migration):
    """Creates the tables, their triggers, and the view anew."""

    dependencies = [
        ("accounts", "0002_admin_names"),
        ("billing", "0010_reversals"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Adjustment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("amount", models.BigIntegerField()),
                ("reason", models.CharField(max_length=500)),
                ("note", models.CharField(blank=True, default="", max_length=500)),
                ("source", models.CharField(max_length=180, unique=True)),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "actor",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.workspace"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["workspace", "-id"], name="adjustment_by_workspace")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("amount", 0), _negated=True), name="adjustment_amount_not_zero"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("reason", ""), _negated=True), name="adjustment_has_reason"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RefundRequest",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("amount", models.BigIntegerField()),
                ("reason", models.CharField(max_length=500)),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("refund_id", models.CharField(blank=True, default="", max_length=100)),
                ("error", models.CharField(blank=True, default="", max_length=500)),
                (
                    "actor",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="refund_requests",
                        to="billing.payment",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["payment", "-at"], name="refund_request_by_payment")],
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("amount__gt", 0)), name="refund_request_positive"),
                    models.CheckConstraint(
                        condition=models.Q(("reason", ""), _negated=True), name="refund_request_has_reason"
                    ),
                ],
            },
        ),
        migrations.RunSQL(KEEP, UNDO_KEEP),
        migrations.RunSQL(VIEW, UNDO_VIEW),
    ]
