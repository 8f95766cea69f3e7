"""Management keys, and the answers to their repeatable requests."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import lumyx.lib.clock


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_teams"),
    ]

    operations = [
        migrations.CreateModel(
            name="ManagementKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=80)),
                ("digest", models.BinaryField(max_length=32, unique=True)),
                ("prefix", models.CharField(max_length=11, unique=True)),
                ("last_four", models.CharField(max_length=4)),
                ("is_read_only", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField(default=lumyx.lib.clock.now)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                ("last_used_at", models.DateTimeField(blank=True, null=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="management_keys",
                        to="accounts.workspace",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="IdempotentAnswer",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(max_length=255)),
                ("fingerprint", models.BinaryField(max_length=32)),
                ("status", models.PositiveSmallIntegerField()),
                ("body", models.JSONField()),
                ("created_at", models.DateTimeField(db_index=True, default=lumyx.lib.clock.now)),
                (
                    "management_key",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="answers", to="accounts.managementkey"
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="managementkey",
            index=models.Index(fields=["workspace", "-created_at"], name="mgmtkey_by_workspace"),
        ),
        migrations.AddConstraint(
            model_name="idempotentanswer",
            constraint=models.UniqueConstraint(fields=("management_key", "key"), name="idempotent_answer_unique"),
        ),
    ]
