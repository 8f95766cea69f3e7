"""Fuzz of the chat endpoint: whatever comes, the answer is no 5xx, has the error shape and echoes no key.

The proof ``fuzz`` throws many more of the same bodies (proofs/bodies.py) at two processes; this one shrinks what it finds.
"""

import pytest
from hypothesis import HealthCheck, given, settings

from proofs import bodies
from proofs.civility import fault_of
from tests.flows.installation import Gateway, Installation, Tenant
from tests.flows.wire import Answer, post

STRUCTURED, BYTES = 250, 120
CHAT_MODELS = ["sandbox/paid", "sandbox/echo"]
MODELS = [*CHAT_MODELS, "lumyx-plus_v1", "sandbox/tool-call", "vision-model-id", "embedding-model-id", "none", ""]


@pytest.fixture(scope="module")
def fuzzed(installation: Installation) -> Tenant:
    """One workspace that takes it all."""
    tenant = installation.new_tenant(credits_usd="1000")
    installation.manage("workspace", "limits", tenant.slug, "--daily", "0")
    return tenant


def _assert_is_civil(answer: Answer, tenant: Tenant) -> None:
    assert fault_of(status=answer.status, headers=answer.headers, body=answer.body, key=tenant.key) == ""


def fuzz(examples: int) -> settings:
    """Return settings for so many examples, the same ones in every run."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=checks)


@fuzz(STRUCTURED)
@given(body=bodies.wild(MODELS) | bodies.spoilt(CHAT_MODELS))
def test_no_structured_body_breaks_it(gateway: Gateway, fuzzed: Tenant, body: bodies.Body) -> None:
    _assert_is_civil(post(gateway.port, bodies.encode(body), key=fuzzed.key), fuzzed)


@fuzz(BYTES)
@given(body=bodies.damaged("sandbox/paid"))
def test_no_damaged_body_breaks_it(gateway: Gateway, fuzzed: Tenant, body: bytes) -> None:
    _assert_is_civil(post(gateway.port, body, key=fuzzed.key), fuzzed)


@fuzz(40)
@given(body=bodies.sound(CHAT_MODELS))
def test_every_sound_body_is_answered(gateway: Gateway, fuzzed: Tenant, body: bodies.Body) -> None:
    answer = post(gateway.port, bodies.encode(body), key=fuzzed.key)
    assert answer.status == 200, answer.body
