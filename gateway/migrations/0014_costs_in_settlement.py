"""The usual end of exchanges as one statement (0009), now with what they cost. The cost comes computed: nothing is read for it.

The functions of 0009 stay beside these, with two parameters fewer: processes of the version before call them while they are replaced.
"""

from django.db import migrations

# Arrays are aligned, one element an exchange. Returns the charges in their order. No event of an open hold can exist yet.
SETTLE = """
CREATE FUNCTION gateway_settle_plain(
    ids uuid[], rated bigint[], workspace_ids bigint[], api_key_ids bigint[], models text[], upstream_ids bigint[],
    price_ids bigint[], route_cost_ids bigint[], input_tokens int[], cache_read_tokens int[], cache_write_tokens int[],
    output_tokens int[], reasoning_tokens int[], costs bigint[], usage_sources text[], flags text[], statuses text[],
    http_statuses smallint[], error_codes text[], are_streams boolean[], are_free boolean[], started timestamptz[],
    first_token_ms int[], duration_ms int[]
) RETURNS bigint[]
LANGUAGE plpgsql AS $$
DECLARE
    charges constant bigint[] := billing_settle_plain(ids, rated);
BEGIN
    IF charges IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO gateway_usageevent (
        id, workspace_id, api_key_id, model, upstream_id, price_id, route_cost_id, input_tokens, cache_read_tokens,
        cache_write_tokens, output_tokens, reasoning_tokens, charge, absorbed, cost, usage_source, flags, status, http_status,
        error_code, is_stream, is_free, started_at, first_token_ms, duration_ms
    )
    SELECT e.id, e.workspace_id, e.api_key_id, e.model, e.upstream_id, e.price_id, e.route_cost_id, e.input, e.cache_read,
           e.cache_write, e.output, e.reasoning, e.charge, greatest(coalesce(e.rated, 0) - e.charge, 0), e.cost, e.source,
           e.flags, e.status, e.http_status, e.error_code, e.is_stream, e.is_free, e.started_at, e.first_token, e.duration
    FROM unnest(
        rated, charges, ids, workspace_ids, api_key_ids, models, upstream_ids, price_ids, route_cost_ids, input_tokens,
        cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, costs, usage_sources, flags, statuses,
        http_statuses, error_codes, are_streams, are_free, started, first_token_ms, duration_ms
    ) AS e (
        rated, charge, id, workspace_id, api_key_id, model, upstream_id, price_id, route_cost_id, input, cache_read,
        cache_write, output, reasoning, cost, source, flags, status, http_status, error_code, is_stream, is_free, started_at,
        first_token, duration
    );
    RETURN charges;
END
$$;
"""

SETTLE_ONE = """
CREATE FUNCTION gateway_settle_one(
    request uuid, rated bigint, workspace_id bigint, api_key_id bigint, model text, upstream_id bigint, price_id bigint,
    route_cost_id bigint, input_tokens int, cache_read_tokens int, cache_write_tokens int, output_tokens int,
    reasoning_tokens int, cost bigint, usage_source text, flags text, status text, http_status smallint, error_code text,
    is_stream boolean, is_free boolean, started_at timestamptz, first_token_ms int, duration_ms int
) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    charge constant bigint := billing_settle_one(request, rated, workspace_id);
BEGIN
    IF charge IS NOT NULL THEN
        INSERT INTO gateway_usageevent (
            id, workspace_id, api_key_id, model, upstream_id, price_id, route_cost_id, input_tokens, cache_read_tokens,
            cache_write_tokens, output_tokens, reasoning_tokens, charge, absorbed, cost, usage_source, flags, status,
            http_status, error_code, is_stream, is_free, started_at, first_token_ms, duration_ms
        ) VALUES (
            request, workspace_id, api_key_id, model, upstream_id, price_id, route_cost_id, input_tokens, cache_read_tokens,
            cache_write_tokens, output_tokens, reasoning_tokens, charge, greatest(coalesce(rated, 0) - charge, 0), cost,
            usage_source, flags, status, http_status, error_code, is_stream, is_free, started_at, first_token_ms, duration_ms
        );
    END IF;
    RETURN charge;
END
$$;
"""

UNDO_SETTLE = """
DROP FUNCTION gateway_settle_plain(
    uuid[], bigint[], bigint[], bigint[], text[], bigint[], bigint[], bigint[], int[], int[], int[], int[], int[], bigint[],
    text[], text[], text[], smallint[], text[], boolean[], boolean[], timestamptz[], int[], int[]
);
DROP FUNCTION gateway_settle_one(
    uuid, bigint, bigint, bigint, text, bigint, bigint, bigint, int, int, int, int, int, bigint,
    text, text, text, smallint, text, boolean, boolean, timestamptz, int, int
);
"""


class Migration(migrations.Migration):
    """Creates the two functions."""

    dependencies = [("gateway", "0013_costs")]
    operations = [migrations.RunSQL(SETTLE + SETTLE_ONE, UNDO_SETTLE)]
