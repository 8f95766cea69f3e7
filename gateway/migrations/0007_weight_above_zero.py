"""A route's weight is above 0: one that should not be chosen is disabled."""

from django.core.validators import MinValueValidator
from django.db import migrations, models


class Migration(migrations.Migration):
    """Changes how forms check the field; the column stays as it is."""

    dependencies = [("gateway", "0006_base_url_is_text")]
    operations = [
        migrations.AlterField(
            "route", "weight", models.PositiveIntegerField(default=100, validators=[MinValueValidator(1)])
        )
    ]
