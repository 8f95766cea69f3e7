"""Owing an e-mail: complete facts, once per key, with the transaction that it tells of."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import Mock

import pytest
from django.db import connection, transaction
from kombu.exceptions import OperationalError
from pytest_django import DjangoCaptureOnCommitCallbacks

from billing.models import Notice
from billing.services import notices
from billing.services.notice_kinds import KINDS, MUTABLE, FactsError, UnknownKindError, facts_of
from billing.services.notices import owe
from tests.billing.notice_facts import FACTS
from tests.factories import make_workspace

#: Facts that a kind can do without.
OPTIONAL = {
    "receipt": {"method", "is_top_up"},
    "subscription_started": {"receipt_url"},
    "subscription_changed": {"amount"},
    "subscription_past_due": {"amount"},
    "subscription_ended": {"amount"},
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Watch what is asked of workers."""
    app = Mock()
    app.conf.task_always_eager = False
    monkeypatch.setattr(notices, "current_app", app)
    return app.send_task  # type: ignore[no-any-return]


def test_the_kinds_are_those_that_callers_know() -> None:
    assert set(FACTS) == set(KINDS)
    assert {"low_balance"} == MUTABLE


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_fact_is_an_error(kind: str) -> None:
    facts_of(kind, FACTS[kind])
    for name in FACTS[kind]:
        rest = {other: value for other, value in FACTS[kind].items() if other != name}
        if name in OPTIONAL.get(kind, set()):
            facts_of(kind, rest)
        else:
            with pytest.raises(FactsError, match=name):
                facts_of(kind, rest)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("receipt", {"amount": "20"}),
        ("receipt", {"amount": -1}),
        ("receipt", {"amount": True}),
        ("receipt", {"amount": 2**63}),
        ("receipt", {"receipt_url": "javascript:alert(1)"}),
        ("receipt", {"paid_at": "yesterday"}),
        ("receipt", {"paid_at": ""}),
        ("payment_action_needed", {"url": ""}),
        ("subscription_renewed", {"interval": "week"}),
        ("subscription_renewed", {"period_end": "2026-13-01"}),
        ("dispute_closed", {"won": "yes"}),
        ("top_up_failed", {"stopped": 1}),
    ],
)
def test_a_wrong_fact_is_an_error(kind: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(FactsError, match=kind):
        facts_of(kind, {**FACTS[kind], **wrong})


@pytest.mark.django_db
def test_what_cannot_be_told_is_not_owed() -> None:
    workspace = make_workspace()
    with pytest.raises(UnknownKindError, match="receipt"):
        owe("reciept", workspace_id=workspace.pk, key="k", facts={})
    with pytest.raises(FactsError, match="credit_taken"):
        owe("refund", workspace_id=workspace.pk, key="k", facts={"amount": 1})
    for key in ("", "k" * 201):
        with pytest.raises(FactsError, match="200 characters"):
            owe("refund", workspace_id=workspace.pk, key=key, facts=FACTS["refund"])
    assert not Notice.objects.exists()


@pytest.mark.django_db
def test_a_key_is_owed_once_with_its_first_facts() -> None:
    workspace = make_workspace()
    key = "r" * 200
    assert owe("refund", workspace_id=workspace.pk, key=key, facts={**FACTS["refund"], "more": "kept"})
    assert not owe("refund", workspace_id=workspace.pk, key=key, facts={**FACTS["refund"], "amount": 1})
    notice = Notice.objects.get()
    assert (notice.kind, notice.workspace_id, notice.key) == ("refund", workspace.pk, key)
    assert notice.facts == {**FACTS["refund"], "more": "kept"}
    assert (notice.sent_at, notice.gave_up_at, notice.attempts, notice.delivered_to) == (None, None, 0, [])


@pytest.mark.django_db(transaction=True)
def test_thirty_callers_at_once_owe_one_notice() -> None:
    workspace_id = make_workspace().pk
    gate = threading.Barrier(30)

    def call(_number: int) -> bool:
        try:
            connection.ensure_connection()
            gate.wait(timeout=30)
            with transaction.atomic():
                return owe("refund", workspace_id=workspace_id, key="refund:re_1", facts=FACTS["refund"])
        finally:
            connection.close()

    with ThreadPoolExecutor(30) as hands:
        assert sorted(hands.map(call, range(30))) == [False] * 29 + [True]
    assert Notice.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_notice_goes_with_its_transaction(asked: Mock) -> None:
    workspace = make_workspace()
    with transaction.atomic():
        owe("refund", workspace_id=workspace.pk, key="k", facts=FACTS["refund"])
        transaction.set_rollback(True)
    assert not Notice.objects.exists()
    asked.assert_not_called()


@pytest.mark.django_db
def test_one_commit_asks_for_one_sending(
    asked: Mock, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    workspace = make_workspace()
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        for number in range(3):
            owe("refund", workspace_id=workspace.pk, key=f"k{number}", facts=FACTS["refund"])
        asked.assert_not_called()
    assert len(callbacks) == 1
    asked.assert_called_once_with("billing.tasks.send_notices", retry=False)
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        owe("refund", workspace_id=workspace.pk, key="k0", facts=FACTS["refund"])
    assert callbacks == []


@pytest.mark.django_db(transaction=True)
def test_a_savepoint_that_is_rolled_back_takes_no_other_sending_with_it(asked: Mock) -> None:
    workspace = make_workspace()
    with transaction.atomic():
        with transaction.atomic():
            owe("refund", workspace_id=workspace.pk, key="gone", facts=FACTS["refund"])
            transaction.set_rollback(True)
        owe("refund", workspace_id=workspace.pk, key="kept", facts=FACTS["refund"])
    assert [notice.key for notice in Notice.objects.all()] == ["kept"]
    asked.assert_called_once()


@pytest.mark.django_db
def test_without_a_broker_nothing_breaks(asked: Mock, caplog: pytest.LogCaptureFixture) -> None:
    asked.side_effect = OperationalError("away")
    notices.ask_for_sending()
    assert "waits for the schedule" in caplog.text


def test_a_process_without_the_project_s_celery_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Mock()
    app.conf.broker_url, app.conf.task_always_eager = None, False
    monkeypatch.setattr(notices, "current_app", app)
    notices.ask_for_sending()
    app.send_task.assert_not_called()
