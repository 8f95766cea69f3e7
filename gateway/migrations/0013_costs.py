"""What requests cost: versions of a route's cost, the cost of a usage event, their sums in the roll-ups, one of them by upstream.

No row is rewritten: a past event's cost is not known. The check of events becomes one again, with the cost in it; 0015 validates it.
"""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

COLUMNS = "input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, charge, absorbed"
# least() passes over NULLs.
CHECK = f"""
ALTER TABLE gateway_usageevent DROP CONSTRAINT usage_not_negative,
    ADD CONSTRAINT usage_not_negative CHECK (least({COLUMNS}, cost) >= 0) NOT VALID
"""
UNDO_CHECK = f"""
ALTER TABLE gateway_usageevent DROP CONSTRAINT usage_not_negative,
    ADD CONSTRAINT usage_not_negative CHECK (least({COLUMNS}) >= 0)
"""
TELL = """
CREATE TRIGGER tell_change AFTER INSERT OR UPDATE OR DELETE ON gateway_routecost
FOR EACH STATEMENT EXECUTE FUNCTION gateway_notify_topic('catalog')
"""


class Migration(migrations.Migration):
    """Adds the tables, the columns, and the notification of a changed cost."""

    dependencies = [("gateway", "0012_droppedusage")]
    operations = [
        *(
            migrations.AddField(rollup, name, models.BigIntegerField(db_default=0))
            for rollup in ("dailyusage", "hourlyusage")
            for name in ("absorbed", "cost", "costed")
        ),
        migrations.AddField("usageevent", "cost", models.BigIntegerField(null=True)),
        migrations.AddField("usageevent", "route_cost_id", models.BigIntegerField(null=True)),
        migrations.RunSQL(CHECK, UNDO_CHECK),
        migrations.CreateModel(
            name="UpstreamUsage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("model", models.CharField(max_length=200)),
                ("requests", models.BigIntegerField(default=0)),
                ("errors", models.BigIntegerField(default=0)),
                ("input_tokens", models.BigIntegerField(default=0)),
                ("cache_read_tokens", models.BigIntegerField(default=0)),
                ("cache_write_tokens", models.BigIntegerField(default=0)),
                ("output_tokens", models.BigIntegerField(default=0)),
                ("charge", models.BigIntegerField(default=0)),
                ("absorbed", models.BigIntegerField(db_default=0)),
                ("cost", models.BigIntegerField(db_default=0)),
                ("costed", models.BigIntegerField(db_default=0)),
                ("day", models.DateField()),
                ("upstream_id", models.BigIntegerField()),
            ],
            options={
                "verbose_name": "margin",
                "verbose_name_plural": "margins",
                "constraints": [
                    models.UniqueConstraint(fields=("day", "model", "upstream_id"), name="upstream_usage_unique")
                ],
            },
        ),
        migrations.CreateModel(
            name="RouteCost",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("version", models.PositiveIntegerField()),
                ("input", models.BigIntegerField()),
                ("output", models.BigIntegerField(default=0)),
                ("cache_read", models.BigIntegerField(blank=True, null=True)),
                ("cache_write", models.BigIntegerField(blank=True, null=True)),
                ("effective_from", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "route",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="costs", to="gateway.route"
                    ),
                ),
            ],
            options={
                "ordering": ("route", "-version"),
                "constraints": [
                    models.UniqueConstraint(fields=("route", "version"), name="route_cost_version_unique"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("input__gte", 0),
                            ("output__gte", 0),
                            models.Q(("cache_read__isnull", True), ("cache_read__gte", 0), _connector="OR"),
                            models.Q(("cache_write__isnull", True), ("cache_write__gte", 0), _connector="OR"),
                        ),
                        name="route_cost_not_negative",
                    ),
                ],
            },
        ),
        migrations.RunSQL(TELL, "DROP TRIGGER tell_change ON gateway_routecost"),
    ]
