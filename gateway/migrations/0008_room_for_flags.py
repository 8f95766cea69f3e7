"""Room for all flags at once: a settlement that does not fit its column would not be written at all."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Widens the column; no row is rewritten."""

    dependencies = [("gateway", "0007_weight_above_zero")]
    operations = [
        migrations.AlterField("usageevent", "flags", models.CharField(blank=True, default="", max_length=200))
    ]
