"""Checks that are cheap to read, no foreign keys and no second index on the busiest tables: see billing.models.ledger."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0005_plain_books"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="creditgrant",
            name="grant_remaining_in_range",
        ),
        migrations.RemoveConstraint(
            model_name="creditgrant",
            name="grant_amount_positive",
        ),
        migrations.RemoveConstraint(
            model_name="creditgrant",
            name="grant_paid_never_expires",
        ),
        migrations.RemoveConstraint(
            model_name="hold",
            name="hold_actual_when_settled",
        ),
        migrations.RemoveConstraint(
            model_name="ledgerentry",
            name="entry_sign_of_kind",
        ),
        migrations.AlterField(
            model_name="hold",
            name="wallet",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.wallet",
            ),
        ),
        migrations.AlterField(
            model_name="ledgerentry",
            name="grant",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.creditgrant",
            ),
        ),
        migrations.AlterField(
            model_name="ledgerentry",
            name="wallet",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.wallet",
            ),
        ),
        migrations.AddConstraint(
            model_name="creditgrant",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("remaining__lte", models.F("amount")),
                    models.Q(("remaining__gte", 0), ("kind", "overdraft"), _connector="OR"),
                ),
                name="grant_remaining_in_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="creditgrant",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("amount__gt", 0), models.Q(("kind", "overdraft"), _negated=True)),
                    models.Q(("amount", 0), ("kind", "overdraft")),
                    _connector="OR",
                ),
                name="grant_amount_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="creditgrant",
            constraint=models.CheckConstraint(
                condition=models.Q(("expires_at__isnull", True), ("kind", "vip"), ("kind", "promo"), _connector="OR"),
                name="grant_paid_never_expires",
            ),
        ),
        migrations.AddConstraint(
            model_name="hold",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("actual__gte", 0),
                        ("actual__isnull", False),
                        ("actual__lte", models.F("amount")),
                        ("state", "settled"),
                    ),
                    models.Q(
                        ("actual__isnull", True),
                        models.Q(("state", "open"), ("state", "released"), ("state", "expired"), _connector="OR"),
                    ),
                    _connector="OR",
                ),
                name="hold_actual_when_settled",
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgerentry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("amount__lt", 0), ("kind", "usage")),
                    models.Q(("amount__gt", 0), ("kind", "grant")),
                    models.Q(("amount__lt", 0), ("kind", "expire")),
                    models.Q(("amount__lt", 0), ("kind", "clawback")),
                    ("kind", "debt_repay"),
                    ("kind", "adjust"),
                    _connector="OR",
                ),
                name="entry_sign_of_kind",
            ),
        ),
    ]
