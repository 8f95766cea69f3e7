"""Django manages the partitioned table's rows (flush empties it between tests); its making stays in 0002."""

from django.db import migrations


class Migration(migrations.Migration):
    """Changes what Django knows of the table, and nothing in the database."""

    dependencies = [("gateway", "0004_change_notifications")]
    operations = [migrations.AlterModelOptions(name="usageevent", options={})]
