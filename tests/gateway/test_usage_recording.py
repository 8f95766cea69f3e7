"""Usage events as they are written: once, whole, and amended only when the sweeper had given a request up."""

from copy import replace

import msgspec
import pytest

from billing.types import Admission, QuotaClaim
from gateway.models import UsageEvent
from gateway.services.usage import UsageRecord, record_usage
from lumyx.lib.ids import uuid7
from tests.gateway.records import expired_record, usage_record

pytestmark = pytest.mark.django_db


def test_every_field_of_a_record_is_stored() -> None:
    record = usage_record(
        absorbed=7, flags="clamped", status="cut", http_status=502, error_code="upstream_error", is_stream=True
    )
    record_usage([record])
    row = UsageEvent.objects.filter(id=record.id).values().get()
    assert row == msgspec.structs.asdict(record)


def test_all_flags_at_once_fit_their_column() -> None:
    every = "reasoning_outside,usage_clamped,usage_stale,usage_unreadable,usage_zero_output"
    record_usage([record := usage_record(flags=every)])
    assert UsageEvent.objects.get(id=record.id).flags == every


def test_a_batch_is_written_whole_and_nothing_is_written_for_an_empty_one() -> None:
    record_usage([])
    assert not UsageEvent.objects.exists()
    records = [usage_record(workspace_id=number) for number in range(50)]
    record_usage(records)
    assert set(UsageEvent.objects.values_list("id", flat=True)) == {record.id for record in records}


def test_fields_that_may_be_absent_are_null() -> None:
    record = usage_record(api_key_id=None, upstream_id=None, price_id=None, first_token_ms=None)
    record_usage([record])
    row = UsageEvent.objects.get(id=record.id)
    assert (row.api_key_id, row.upstream_id, row.price_id, row.first_token_ms) == (None, None, None, None)


def test_an_event_that_exists_is_kept() -> None:
    record = usage_record(charge=5)
    record_usage([record])
    record_usage([replace(record, charge=900)])
    record_usage([expired_record(id=record.id)])
    row = UsageEvent.objects.get(id=record.id)
    assert (row.charge, row.status) == (5, "ok")


def test_of_several_records_with_one_id_the_first_is_written() -> None:
    record = usage_record(charge=5)
    record_usage([record, replace(record, charge=900)])
    assert UsageEvent.objects.get(id=record.id).charge == 5


def test_a_late_settlement_amends_an_expired_event_but_not_what_it_was_counted_by() -> None:
    expired = expired_record()
    record_usage([expired])
    late = usage_record(id=expired.id, workspace_id=99, api_key_id=99, model="other", charge=40)
    record_usage([late])
    row = UsageEvent.objects.get(id=expired.id)
    assert (row.status, row.charge, row.output_tokens, row.price_id) == ("ok", 40, 8, 4)
    assert (row.workspace_id, row.api_key_id, row.model) == (1, 10, "sandbox/paid")


def test_an_expired_event_is_amended_once() -> None:
    expired = expired_record()
    for record in (expired, usage_record(id=expired.id, charge=40), usage_record(id=expired.id, charge=41)):
        record_usage([record])
    assert UsageEvent.objects.get(id=expired.id).charge == 40


def test_amendments_and_new_events_go_in_one_batch() -> None:
    expired, fresh = expired_record(), usage_record(charge=1)
    record_usage([expired])
    record_usage([fresh, usage_record(id=expired.id, charge=2), usage_record(id=uuid7(), charge=3)])
    assert sorted(UsageEvent.objects.values_list("charge", flat=True)) == [1, 2, 3]


@pytest.mark.parametrize("quota", [None, QuotaClaim(subject="u:1", limit=25)])
def test_an_admission_that_came_too_late_is_recorded_as_released(quota: QuotaClaim | None) -> None:
    admission = Admission(
        request_id=uuid7(), workspace_id=1, api_key_id=2, model="m", amount=9, floor=9, ttl=60.0, quota=quota
    )
    record_usage([UsageRecord.for_unserved(admission)])
    row = UsageEvent.objects.get(id=admission.request_id)
    assert (row.workspace_id, row.api_key_id, row.model, row.status, row.charge) == (1, 2, "m", "released", 0)
    assert row.is_free is (quota is not None)
