"""Usage events that were amended after they had been written: which transaction did it, so that roll-ups stay exact."""

from django.db import migrations


class Migration(migrations.Migration):
    """Adds amended_xid: set when a late settlement replaces an event that the sweeper had written as expired."""

    dependencies = [("gateway", "0002_usage_events")]
    operations = [
        migrations.RunSQL(
            """
            ALTER TABLE gateway_usageevent ADD COLUMN amended_xid xid8;
            CREATE INDEX usage_by_amendment ON gateway_usageevent (amended_xid) WHERE amended_xid IS NOT NULL;
            """,
            "ALTER TABLE gateway_usageevent DROP COLUMN amended_xid",
        )
    ]
