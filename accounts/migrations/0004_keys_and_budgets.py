"""What keys may do, and what the database itself knows of that: a version that goes up with each change, and how their makers stand.

Admission reads a key's row and nothing of its maker: what a role, a membership or a shut-out person means for keys is written to
their rows in the transaction that changes it, whoever writes. A key that is made while its maker's role changes waits for that.
"""

import django.contrib.postgres.fields
from django.db import migrations, models

#: What changes a key's version: all that a process remembers of it.
WATCHED = (
    *("workspace_id", "created_by_id", "digest", "previous_digest", "previous_ends_at", "is_test", "allowed_models"),
    *(
        "allowed_addresses",
        "requests_per_minute",
        "budget_nano",
        "budget_period",
        "expires_at",
        "disabled_at",
        "revoked_at",
    ),
    *("maker_is_barred", "maker_has_budget"),
)

# The roles are those of accounts.roles that may manage keys; a test compares the two.
TRIGGERS = f"""
CREATE FUNCTION accounts_makes_keys(role text, is_active boolean) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(is_active AND role IN ('owner', 'admin', 'developer'), false)
$$;

CREATE FUNCTION accounts_new_key() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    maker record;
BEGIN
    NEW.version := 1;
    IF NEW.created_by_id IS NULL THEN
        NEW.maker_is_barred := false;
        NEW.maker_has_budget := false;
    ELSE
        SELECT m.role, m.budget_nano, u.is_active INTO maker
            FROM accounts_membership m JOIN accounts_user u ON u.id = m.user_id
            WHERE m.workspace_id = NEW.workspace_id AND m.user_id = NEW.created_by_id FOR SHARE;
        NEW.maker_is_barred := NOT accounts_makes_keys(maker.role, maker.is_active);
        NEW.maker_has_budget := maker.budget_nano IS NOT NULL;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER key_is_new BEFORE INSERT ON accounts_apikey FOR EACH ROW EXECUTE FUNCTION accounts_new_key();

-- Whoever saves all columns of a row that was read a while ago writes what these three were then: they are made anew.
CREATE FUNCTION accounts_changed_key() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    maker record;
BEGIN
    IF NEW.created_by_id IS NULL THEN
        -- Where it had a maker, their account is gone. It does not become the operators'.
        NEW.maker_is_barred := OLD.maker_is_barred OR OLD.created_by_id IS NOT NULL;
        NEW.maker_has_budget := false;
    ELSIF (NEW.created_by_id, NEW.workspace_id, NEW.maker_is_barred, NEW.maker_has_budget) IS DISTINCT FROM
          (OLD.created_by_id, OLD.workspace_id, OLD.maker_is_barred, OLD.maker_has_budget) THEN
        SELECT m.role, m.budget_nano, u.is_active INTO maker
            FROM accounts_membership m JOIN accounts_user u ON u.id = m.user_id
            WHERE m.workspace_id = NEW.workspace_id AND m.user_id = NEW.created_by_id;
        NEW.maker_is_barred := NOT accounts_makes_keys(maker.role, maker.is_active);
        NEW.maker_has_budget := maker.budget_nano IS NOT NULL;
    END IF;
    NEW.version := OLD.version + CASE
        WHEN {" OR ".join(f"OLD.{name} IS DISTINCT FROM NEW.{name}" for name in WATCHED)} THEN 1 ELSE 0 END;
    RETURN NEW;
END
$$;
CREATE TRIGGER key_has_changed BEFORE UPDATE ON accounts_apikey FOR EACH ROW EXECUTE FUNCTION accounts_changed_key();

CREATE FUNCTION accounts_judge_keys(maker bigint, workspace bigint) RETURNS void LANGUAGE sql AS $$
    UPDATE accounts_apikey k SET maker_is_barred = present.is_barred, maker_has_budget = present.has_budget
    FROM (
        SELECT made.id, NOT accounts_makes_keys(m.role, u.is_active) AS is_barred, m.budget_nano IS NOT NULL AS has_budget
        FROM accounts_apikey made
        LEFT JOIN accounts_membership m ON m.workspace_id = made.workspace_id AND m.user_id = made.created_by_id
        LEFT JOIN accounts_user u ON u.id = made.created_by_id
        WHERE made.created_by_id IS NOT NULL
          AND (maker IS NULL OR made.created_by_id = maker) AND (workspace IS NULL OR made.workspace_id = workspace)
    ) AS present
    WHERE k.id = present.id
      AND (k.maker_is_barred, k.maker_has_budget) IS DISTINCT FROM (present.is_barred, present.has_budget)
$$;

CREATE FUNCTION accounts_membership_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM accounts_judge_keys(OLD.user_id, OLD.workspace_id);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM accounts_judge_keys(NEW.user_id, NEW.workspace_id);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER judge_keys AFTER INSERT OR UPDATE OR DELETE ON accounts_membership
    FOR EACH ROW EXECUTE FUNCTION accounts_membership_changed();

CREATE FUNCTION accounts_person_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM accounts_judge_keys(NEW.id, NULL);
    RETURN NULL;
END
$$;
CREATE TRIGGER judge_keys AFTER UPDATE OF is_active ON accounts_user FOR EACH ROW
    WHEN (OLD.is_active IS DISTINCT FROM NEW.is_active) EXECUTE FUNCTION accounts_person_changed();

SELECT accounts_judge_keys(NULL, NULL);
"""  # noqa: S608  column names from the list above
UNDO_TRIGGERS = """
DROP TRIGGER judge_keys ON accounts_user;
DROP TRIGGER judge_keys ON accounts_membership;
DROP TRIGGER key_has_changed ON accounts_apikey;
DROP TRIGGER key_is_new ON accounts_apikey;
DROP FUNCTION accounts_person_changed(), accounts_membership_changed(), accounts_judge_keys(bigint, bigint),
    accounts_changed_key(), accounts_new_key(), accounts_makes_keys(text, boolean);
"""


class Migration(migrations.Migration):
    """Adds the columns, and the triggers that keep three of them."""

    dependencies = [
        ("accounts", "0003_audit"),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="allowed_addresses",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=43), blank=True, db_default=[], default=list
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="budget_nano",
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="apikey",
            name="budget_period",
            field=models.CharField(
                blank=True,
                choices=[("day", "day"), ("week", "week"), ("month", "month"), ("total", "total")],
                db_default="",
                default="",
                max_length=5,
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="disabled_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="apikey",
            name="maker_has_budget",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.AddField(
            model_name="apikey",
            name="maker_is_barred",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.AddField(
            model_name="apikey",
            name="previous_digest",
            field=models.BinaryField(blank=True, max_length=32, null=True, unique=True),
        ),
        migrations.AddField(
            model_name="apikey",
            name="previous_ends_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="apikey",
            name="previous_prefix",
            field=models.CharField(blank=True, db_default="", default="", max_length=16),
        ),
        migrations.AddField(
            model_name="apikey",
            name="requests_per_minute",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="apikey",
            name="version",
            field=models.BigIntegerField(db_default=1, default=1, editable=False),
        ),
        migrations.AddField(
            model_name="membership",
            name="budget_nano",
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="membership",
            name="budget_period",
            field=models.CharField(
                blank=True,
                choices=[("day", "day"), ("week", "week"), ("month", "month"), ("total", "total")],
                db_default="",
                default="",
                max_length=5,
            ),
        ),
        migrations.AlterField(
            model_name="apikey",
            name="prefix",
            field=models.CharField(max_length=16, unique=True),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("budget_nano__isnull", True), ("budget_period", "")),
                    models.Q(("budget_nano__gt", 0), models.Q(("budget_period", ""), _negated=True)),
                    _connector="OR",
                ),
                name="apikey_budget_whole",
            ),
        ),
        migrations.AddConstraint(
            model_name="membership",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("budget_nano__isnull", True), ("budget_period", "")),
                    models.Q(("budget_nano__gt", 0), models.Q(("budget_period", ""), _negated=True)),
                    _connector="OR",
                ),
                name="membership_budget_whole",
            ),
        ),
        migrations.RunSQL(TRIGGERS, UNDO_TRIGGERS),
    ]
