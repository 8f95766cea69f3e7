"""A workspace whose deletion is planned, or taken back, is told to every process like one that is suspended."""

from django.db import migrations

_WATCHED = ("suspended_at", "owner_id", "slug")
_CALL = "FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION gateway_notify_row('workspace', 'id');"


def _watch(columns: tuple[str, ...]) -> str:
    when = " OR ".join(f"OLD.{name} IS DISTINCT FROM NEW.{name}" for name in columns)
    return (
        "DROP TRIGGER tell_change ON accounts_workspace;"
        f" CREATE TRIGGER tell_change AFTER UPDATE OF {', '.join(columns)} ON accounts_workspace {_CALL.format(when=when)}"
    )


class Migration(migrations.Migration):
    """Watches one column more."""

    dependencies = [
        ("gateway", "0016_changed_keys"),
        ("accounts", "0005_teams"),
    ]
    operations = [migrations.RunSQL(_watch((*_WATCHED, "deletion_planned_at")), _watch(_WATCHED))]
