"""Which months of usage events retention removed."""

import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    """Adds the table; nothing is dropped by it."""

    dependencies = [("gateway", "0011_anthropic_messages")]
    operations = [
        migrations.CreateModel(
            name="DroppedUsage",
            fields=[
                ("month", models.DateField(primary_key=True, serialize=False)),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        )
    ]
