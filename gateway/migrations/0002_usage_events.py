"""The table of usage events, partitioned by month of the id's time (UUIDv7), with a DEFAULT partition that alarms.

Plain SQL because Django's migrations know no partitions; the model is unmanaged.
"""

from django.db import migrations

CREATE = """
CREATE TABLE gateway_usageevent (
    id uuid NOT NULL,
    workspace_id bigint NOT NULL,
    api_key_id bigint,
    model varchar(200) NOT NULL,
    upstream_id bigint,
    price_id bigint,
    input_tokens integer NOT NULL DEFAULT 0 CHECK (input_tokens >= 0),
    cache_read_tokens integer NOT NULL DEFAULT 0 CHECK (cache_read_tokens >= 0),
    cache_write_tokens integer NOT NULL DEFAULT 0 CHECK (cache_write_tokens >= 0),
    output_tokens integer NOT NULL DEFAULT 0 CHECK (output_tokens >= 0),
    reasoning_tokens integer NOT NULL DEFAULT 0 CHECK (reasoning_tokens >= 0),
    charge bigint NOT NULL DEFAULT 0 CHECK (charge >= 0),
    absorbed bigint NOT NULL DEFAULT 0 CHECK (absorbed >= 0),
    usage_source varchar(10) NOT NULL,
    flags varchar(60) NOT NULL DEFAULT '',
    status varchar(16) NOT NULL,
    http_status smallint NOT NULL,
    error_code varchar(40) NOT NULL DEFAULT '',
    is_stream boolean NOT NULL DEFAULT false,
    is_free boolean NOT NULL DEFAULT false,
    started_at timestamptz NOT NULL,
    first_token_ms integer,
    duration_ms integer NOT NULL,
    committed_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE INDEX usage_by_workspace ON gateway_usageevent (workspace_id, id DESC);
CREATE INDEX usage_by_commit ON gateway_usageevent (committed_xid);
CREATE TABLE gateway_usageevent_default PARTITION OF gateway_usageevent DEFAULT;

-- The smallest UUIDv7 of a moment: 48 bits of milliseconds, then the version and zeros.
CREATE FUNCTION gateway_uuid7_floor(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT (substr(h, 1, 8) || '-' || substr(h, 9, 4) || '-7000-8000-000000000000')::uuid
    FROM lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') AS h
$$;

-- Makes the partition of one month; returns whether it was missing.
CREATE FUNCTION gateway_make_usage_partition(month date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    start timestamptz := date_trunc('month', month::timestamp) AT TIME ZONE 'UTC';
    stop timestamptz := (date_trunc('month', month::timestamp) + interval '1 month') AT TIME ZONE 'UTC';
    name text := 'gateway_usageevent_' || to_char(month, 'YYYYMM');
BEGIN
    IF to_regclass(name) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I PARTITION OF gateway_usageevent FOR VALUES FROM (%L) TO (%L)',
                   name, gateway_uuid7_floor(start), gateway_uuid7_floor(stop));
    RETURN true;
END
$$;
SELECT gateway_make_usage_partition((date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => m))::date)
FROM generate_series(-1, 3) AS m;
"""

DROP = """
DROP TABLE gateway_usageevent;
DROP FUNCTION gateway_make_usage_partition(date);
DROP FUNCTION gateway_uuid7_floor(timestamptz);
"""


class Migration(migrations.Migration):
    """Creates the partitioned table and its two functions."""

    dependencies = [("gateway", "0001_initial")]
    operations = [migrations.RunSQL(CREATE, DROP)]
