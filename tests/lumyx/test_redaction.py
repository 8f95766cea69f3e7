"""Log lines lose what looks like a secret, and nothing else."""

import io
import logging
import logging.config

import pytest
from django.conf import settings

from lumyx.lib.crypto import new_api_key
from lumyx.lib.redaction import redact


def test_an_api_key_keeps_only_its_public_prefix() -> None:
    key = new_api_key()
    assert redact(f"refused {key}.") == f"refused {key[:11]}…."
    assert key not in redact(f"Authorization: Bearer {key}")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("key sk-proj-abcdefghijklmnop1234 used", "key sk-… used"),
        ("whsec_abcdefghijklmnop", "whsec_…"),
        ("Authorization: Bearer abcdef.ghijkl-123", "Authorization: Bearer …"),
        ("postgresql://lumyx:hunter2@db:5432/lumyx is away", "postgresql://lumyx:…@db:5432/lumyx is away"),
        ("redis://:hunter2@cache/0", "redis://:…@cache/0"),
    ],
)
def test_secrets_are_cut(line: str, shown: str) -> None:
    assert redact(line) == shown


@pytest.mark.parametrize(
    "line",
    [
        "GET http://127.0.0.1:8000/api/v1/models 200",
        "lx-abcdefgh was revoked",
        "ask-me-anything",
        "the bearer of bad news",
        "a@b.c",
    ],
)
def test_everyday_lines_stay_as_they_are(line: str) -> None:
    assert redact(line) == line


def test_the_configured_handler_cuts_arguments_and_tracebacks() -> None:
    key, stream = new_api_key(), io.StringIO()
    made = logging.config.DictConfigurator(settings.LOGGING).configure_formatter(
        dict(settings.LOGGING["formatters"]["line"])
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(made)
    logger = logging.getLogger("tests.secrets")
    logger.propagate = False
    logger.addHandler(handler)
    try:
        raise ValueError(key)
    except ValueError:
        logger.exception("with %s", key)
    finally:
        logger.removeHandler(handler)
    assert "Traceback" in stream.getvalue()
    assert key not in stream.getvalue()
    assert stream.getvalue().count(key[:11]) == 2
