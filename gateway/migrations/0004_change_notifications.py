"""Tells every process on the channel ``lumyx`` which rows changed, in the transaction that changed them.

Triggers, because a change may come from the admin, the command line, a task or psql: caches drop what they know within the
commit's round trip. Topics: catalog, tiers, key:<id>, workspace:<id>, user:<id>. Nothing on the request path fires one
(NOTIFY takes a lock at commit): last_used_at, wallets, holds and usage are not watched. The tables of accounts and billing
are watched from here because the gateway is what stands above them and caches their rows.
"""

from django.db import migrations

FUNCTIONS = """
-- The topic as it stands: for tables that are cached whole.
CREATE FUNCTION gateway_notify_topic() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('lumyx', TG_ARGV[0]);
    RETURN NULL;
END
$$;

-- "<prefix>:<id>": the prefix is the first argument, the column that holds the id the second. A row that moves tells both.
CREATE FUNCTION gateway_notify_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM pg_notify('lumyx', TG_ARGV[0] || ':' || (to_jsonb(OLD) ->> TG_ARGV[1]));
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM pg_notify('lumyx', TG_ARGV[0] || ':' || (to_jsonb(NEW) ->> TG_ARGV[1]));
    END IF;
    RETURN NULL;
END
$$;
"""

#: table, topic: one notification a statement
WHOLE_TABLES = (
    ("gateway_upstream", "catalog"),
    ("gateway_catalogmodel", "catalog"),
    ("gateway_price", "catalog"),
    ("gateway_route", "catalog"),
    ("billing_tier", "tiers"),
)

#: table, prefix of the topic, column of the id, columns whose change matters (empty: every insert, update and delete)
ROWS = (
    (
        "accounts_apikey",
        "key",
        "id",
        ("revoked_at", "expires_at", "allowed_models", "is_test", "digest", "workspace_id"),
    ),
    ("accounts_workspace", "workspace", "id", ("suspended_at", "owner_id", "slug")),
    ("accounts_membership", "workspace", "workspace_id", ()),
    ("accounts_policyacceptance", "workspace", "workspace_id", ()),
    ("billing_subscription", "workspace", "workspace_id", ()),
    ("billing_limitoverride", "workspace", "workspace_id", ()),
    ("accounts_user", "user", "id", ("email_verified_at", "is_active")),
)


def _create() -> str:
    statements = [FUNCTIONS]
    for table, topic in WHOLE_TABLES:
        statements.append(
            f"CREATE TRIGGER tell_change AFTER INSERT OR UPDATE OR DELETE ON {table}"
            f" FOR EACH STATEMENT EXECUTE FUNCTION gateway_notify_topic('{topic}');"
        )
    for table, prefix, column, watched in ROWS:
        call = f"FOR EACH ROW %s EXECUTE FUNCTION gateway_notify_row('{prefix}', '{column}');"
        statements.append(f"CREATE TRIGGER tell_come_or_gone AFTER INSERT OR DELETE ON {table} {call % ''}")
        of, when = "", "WHEN (OLD.* IS DISTINCT FROM NEW.*)"
        if watched:
            of = "OF " + ", ".join(watched)
            when = "WHEN (" + " OR ".join(f"OLD.{name} IS DISTINCT FROM NEW.{name}" for name in watched) + ")"
        statements.append(f"CREATE TRIGGER tell_change AFTER UPDATE {of} ON {table} {call % when}")
    return "\n".join(statements)


def _drop() -> str:
    statements = [f"DROP TRIGGER tell_change ON {table};" for table, _ in WHOLE_TABLES]
    for table, *_ in ROWS:
        statements.append(f"DROP TRIGGER tell_come_or_gone ON {table}; DROP TRIGGER tell_change ON {table};")
    return "\n".join([*statements, "DROP FUNCTION gateway_notify_topic(), gateway_notify_row();"])


class Migration(migrations.Migration):
    """Creates the two trigger functions and a trigger for each watched table."""

    dependencies = [
        ("gateway", "0003_usage_amendments"),
        ("accounts", "0001_initial"),
        ("billing", "0001_initial"),
    ]
    operations = [migrations.RunSQL(_create(), _drop())]
