"""What GET /key answers, as a JSON schema; gateway.protocols.key_view makes it. Pure."""

from dashboard.api.schema_words import COUNT, FLAG, NANO, TEXT, USD, array_of, nullable, open_object

_BUDGET = nullable(
    open_object(
        {
            "amount": USD,
            "period": {"enum": ["day", "week", "month", "total"]},
            "spent": USD,
            "held": USD,
            "left": USD,
            "left_nano": NANO,
            "resets_at": nullable(TEXT),
        }
    )
)
OWN_KEY = open_object(
    {
        "object": {"const": "key"},
        "name": TEXT,
        "prefix": TEXT,
        "is_test": FLAG,
        "created_at": TEXT,
        "expires_at": nullable(TEXT),
        "last_used_at": nullable(TEXT),
        "secret_ends_at": nullable(TEXT),
        "allowed_models": nullable(array_of(TEXT)),
        "allowed_addresses": nullable(array_of(TEXT)),
        "requests_per_minute": nullable(COUNT),
        "budget": _BUDGET,
        "member_budget": _BUDGET,
        "workspace": open_object(
            {
                "tier": TEXT,
                "requests_per_minute": nullable(COUNT),
                "free_requests_per_day": nullable(COUNT),
                "free_requests_left_today": nullable(COUNT),
            }
        ),
    },
    required=("object", "name", "prefix", "is_test", "workspace"),
    about="What is null has no limit.",
)
