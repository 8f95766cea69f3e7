"""Refunds and disputes as rows: what they took of the credit follows from our own tables."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0009_notices"),
    ]

    operations = [
        migrations.CreateModel(
            name="Reversal",
            fields=[
                ("ref", models.CharField(max_length=110, primary_key=True, serialize=False)),
                ("amount", models.BigIntegerField()),
                ("is_undone", models.BooleanField(default=False)),
                ("happened_at", models.DateTimeField()),
                (
                    "payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="reversals", to="billing.payment"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("amount__gt", 0)), name="reversal_amount_positive")
                ],
            },
        ),
    ]
