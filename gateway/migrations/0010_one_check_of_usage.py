"""Seven checks of usage events become one: PostgreSQL reads the text of each anew in every statement that writes."""

from django.db import migrations

COLUMNS = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "charge",
    "absorbed",
)
TOGETHER = "ALTER TABLE gateway_usageevent " + ", ".join(
    [
        f"ADD CONSTRAINT usage_not_negative CHECK (least({', '.join(COLUMNS)}) >= 0)",
        *(f"DROP CONSTRAINT gateway_usageevent_{column}_check" for column in COLUMNS),
    ]
)
APART = "ALTER TABLE gateway_usageevent " + ", ".join(
    [
        *(f"ADD CONSTRAINT gateway_usageevent_{column}_check CHECK ({column} >= 0)" for column in COLUMNS),
        "DROP CONSTRAINT usage_not_negative",
    ]
)


class Migration(migrations.Migration):
    """Changes the checks of the table and its partitions."""

    dependencies = [("gateway", "0009_plain_settlement")]
    operations = [migrations.RunSQL(TOGETHER, APART)]
