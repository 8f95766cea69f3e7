"""A base URL is text in the database; the rules for it are in gateway.services.upstream_urls."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Changes the field's class; the column stays as it is."""

    dependencies = [("gateway", "0005_usage_events_are_managed")]
    operations = [migrations.AlterField("upstream", "base_url", models.CharField(blank=True, max_length=300))]
