"""The audit log. It only grows: rows are never changed and never deleted, by whoever has the application's rights."""

import django.db.models.functions.datetime
from django.db import migrations, models

KEEP = """
CREATE FUNCTION accounts_refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The audit log only grows: % is refused.', TG_OP USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER audit_only_grows BEFORE UPDATE OR DELETE ON accounts_auditentry
    FOR EACH ROW EXECUTE FUNCTION accounts_refuse_audit_change();
"""
UNDO_KEEP = """
DROP TRIGGER audit_only_grows ON accounts_auditentry;
DROP FUNCTION accounts_refuse_audit_change();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_admin_names"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("workspace_id", models.BigIntegerField(null=True)),
                (
                    "actor_kind",
                    models.CharField(
                        choices=[
                            ("user", "User"),
                            ("operator", "Operator"),
                            ("key", "Key"),
                            ("command", "Command"),
                            ("system", "System"),
                        ],
                        max_length=8,
                    ),
                ),
                ("actor_id", models.BigIntegerField(null=True)),
                ("action", models.CharField(max_length=50)),
                ("target_kind", models.CharField(blank=True, default="", max_length=30)),
                ("target_id", models.CharField(blank=True, default="", max_length=64)),
                ("target_name", models.CharField(blank=True, default="", max_length=200)),
                ("details", models.JSONField(default=dict)),
                ("address", models.GenericIPAddressField(null=True)),
            ],
            options={
                "verbose_name_plural": "audit entries",
                "indexes": [
                    models.Index(fields=["workspace_id", "-id"], name="audit_by_workspace"),
                    models.Index(
                        condition=models.Q(("workspace_id__isnull", True)),
                        fields=["actor_id", "-id"],
                        name="audit_by_person",
                    ),
                ],
            },
        ),
        migrations.RunSQL(KEEP, UNDO_KEEP),
    ]
