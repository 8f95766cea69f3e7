"""A changed API key is told by its version, which goes up with all that a process remembers of it (migration accounts.0004).

The trigger of 0004 listed columns: those that are new, and those that other triggers change, would have gone unheard.
"""

from django.db import migrations

TELL = """
DROP TRIGGER tell_change ON accounts_apikey;
CREATE TRIGGER tell_change AFTER UPDATE ON accounts_apikey FOR EACH ROW WHEN (OLD.version IS DISTINCT FROM NEW.version)
    EXECUTE FUNCTION gateway_notify_row('key', 'id');
"""
WATCHED = ("revoked_at", "expires_at", "allowed_models", "is_test", "digest", "workspace_id")
TELL_LESS = f"""
DROP TRIGGER tell_change ON accounts_apikey;
CREATE TRIGGER tell_change AFTER UPDATE OF {", ".join(WATCHED)} ON accounts_apikey FOR EACH ROW
    WHEN ({" OR ".join(f"OLD.{name} IS DISTINCT FROM NEW.{name}" for name in WATCHED)})
    EXECUTE FUNCTION gateway_notify_row('key', 'id');
"""


class Migration(migrations.Migration):
    """Renews the trigger."""

    dependencies = [("gateway", "0015_sums_by_upstream"), ("accounts", "0004_keys_and_budgets")]
    operations = [migrations.RunSQL(TELL, TELL_LESS)]
