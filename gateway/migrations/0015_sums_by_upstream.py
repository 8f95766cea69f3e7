"""Fills the sums by upstream, and of what was absorbed, with what the roll-ups have counted so far; costs begin now.

Roll-ups wait while it runs; requests do not. Days whose events retention dropped have no upstream any more: 0.
"""

from django.db import migrations

FILL = """
SET LOCAL statement_timeout = 0;
ALTER TABLE gateway_usageevent VALIDATE CONSTRAINT usage_not_negative;
SELECT xid FROM gateway_usagewatermark WHERE name = 'usage' FOR UPDATE;

CREATE TEMPORARY TABLE rolled ON COMMIT DROP AS
WITH mark AS (
    SELECT coalesce(max(xid), 0)::text::xid8 AS high FROM gateway_usagewatermark WHERE name = 'usage'
), kept AS (
    SELECT coalesce(max(month) + interval '1 month', '2020-01-01') AT TIME ZONE 'UTC' AS since FROM gateway_droppedusage
), events AS (
    SELECT e.*, CASE WHEN status IN ('upstream_error', 'cut', 'expired')
               OR (http_status >= 400 AND status <> 'client_closed') THEN 1 ELSE 0 END AS is_error
    FROM gateway_usageevent e, kept WHERE started_at >= since
)
SELECT workspace_id, coalesce(api_key_id, 0) AS api_key_id, model, started_at, coalesce(upstream_id, 0) AS upstream_id,
       1 AS requests, is_error AS errors, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, charge, absorbed
FROM events, mark WHERE amended_xid IS NULL AND committed_xid < high
UNION ALL
SELECT workspace_id, coalesce(api_key_id, 0), model, started_at, 0, 1, 1, 0, 0, 0, 0, 0, 0
FROM events, mark WHERE amended_xid IS NOT NULL AND committed_xid < high
UNION ALL
SELECT workspace_id, coalesce(api_key_id, 0), model, started_at, 0, -1, -1, 0, 0, 0, 0, 0, 0
FROM events, mark WHERE amended_xid < high
UNION ALL
SELECT workspace_id, coalesce(api_key_id, 0), model, started_at, coalesce(upstream_id, 0), 1, is_error, input_tokens,
       cache_read_tokens, cache_write_tokens, output_tokens, charge, absorbed
FROM events, mark WHERE amended_xid < high;

INSERT INTO gateway_upstreamusage (
    day, model, upstream_id, requests, errors, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, charge, absorbed
)
SELECT (started_at AT TIME ZONE 'UTC')::date, model, upstream_id, sum(requests), sum(errors), sum(input_tokens),
       sum(cache_read_tokens), sum(cache_write_tokens), sum(output_tokens), sum(charge), sum(absorbed)
FROM rolled GROUP BY 1, 2, 3
UNION ALL
SELECT day, model, 0, sum(requests), sum(errors), sum(input_tokens), sum(cache_read_tokens), sum(cache_write_tokens),
       sum(output_tokens), sum(charge), 0
FROM gateway_dailyusage WHERE day < (SELECT max(month) + interval '1 month' FROM gateway_droppedusage)
GROUP BY 1, 2;

UPDATE gateway_dailyusage AS usage SET absorbed = found.absorbed FROM (
    SELECT workspace_id, (started_at AT TIME ZONE 'UTC')::date AS day, api_key_id, model, sum(absorbed) AS absorbed
    FROM rolled WHERE absorbed > 0 GROUP BY 1, 2, 3, 4
) AS found
WHERE (usage.workspace_id, usage.day, usage.api_key_id, usage.model)
    = (found.workspace_id, found.day, found.api_key_id, found.model);
UPDATE gateway_hourlyusage AS usage SET absorbed = found.absorbed FROM (
    SELECT workspace_id, date_trunc('hour', started_at, 'UTC') AS hour, api_key_id, model, sum(absorbed) AS absorbed
    FROM rolled WHERE absorbed > 0 GROUP BY 1, 2, 3, 4
) AS found
WHERE (usage.workspace_id, usage.hour, usage.api_key_id, usage.model)
    = (found.workspace_id, found.hour, found.api_key_id, found.model);
"""


class Migration(migrations.Migration):
    """Fills them; going back needs nothing, for 0013 drops what was filled."""

    dependencies = [("gateway", "0014_costs_in_settlement")]
    operations = [migrations.RunSQL(FILL, migrations.RunSQL.noop)]
