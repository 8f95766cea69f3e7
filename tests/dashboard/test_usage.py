"""The usage page: the range that was asked for, sums that add up, and a CSV file of the same rows."""

import csv
import datetime as dt
import io

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django.asserts import assertContains, assertNotContains

from accounts.models import ApiKey
from dashboard.forms import UsageFilterForm
from dashboard.usage import csv_of, safe_cell, sum_of
from gateway.selectors.usage import DayModelUsage, UsageTotals
from lumyx.lib import clock
from tests.dashboard.usage_rows import make_request
from tests.factories import Cast, fund, make_api_key, make_cast

USAGE = "/dashboard/usage"
TODAY = dt.date(2026, 11, 22)


@pytest.fixture
def cast() -> Cast:
    return make_cast()


@pytest.fixture
def key(cast: Cast) -> ApiKey:
    fund(cast.workspace, "10")
    return make_api_key(cast.workspace).row


@pytest.fixture
def alice(client: Client, cast: Cast) -> Client:
    client.force_login(cast.alice)
    return client


def rows_of(client: Client, query: str = "") -> list[dict[str, str]]:
    """Return the CSV file's rows."""
    response = client.get(f"{USAGE}?{query}&export=csv")
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(response.content.decode())))


@pytest.mark.django_db
def test_an_empty_page_offers_the_next_step_and_no_chart(alice: Client) -> None:
    response = alice.get(USAGE)
    assertContains(response, "Nothing used in the last 7 days")
    assertNotContains(response, 'class="chart')


@pytest.mark.django_db
def test_a_request_is_shown_with_its_charge_at_once(alice: Client, cast: Cast, key: ApiKey) -> None:
    make_request(cast.workspace, key=key, charge=4_200_001)
    response = alice.get(USAGE)
    assertContains(response, 'title="$0.004200001">$0.0042</data>')
    assertContains(response, "lumyx-plus_v1")
    assertContains(response, "Days in UTC")


@pytest.mark.django_db
def test_the_table_the_sums_and_the_csv_file_agree(alice: Client, cast: Cast, key: ApiKey) -> None:
    now = clock.now()
    for days, model, charge in ((0, "a", 5), (0, "a", 7), (0, "b", 11), (3, "a", 13)):
        make_request(cast.workspace, key=key, model=model, charge=charge, at=now - dt.timedelta(days=days))
    rows = rows_of(alice, "range=7d")
    today = now.date().isoformat()
    assert [(row["day"], row["model"], row["requests"], row["charge_usd"]) for row in rows] == [
        (today, "a", "2", "0.000000012"),
        (today, "b", "1", "0.000000011"),
        ((now.date() - dt.timedelta(days=3)).isoformat(), "a", "1", "0.000000013"),
    ]
    assert rows[0]["tokens_in"] == "2400"
    assert rows[0]["tokens_cached"] == "400"
    assert rows[0]["tokens_out"] == "600"
    html = alice.get(USAGE).content.decode()
    assert html.count('class="u-day') == len(rows)
    assert 'title="$0.000000036"' in html  # the total: 5 + 7 + 11 + 13
    assert '<data value="4800" title="4,800">4,800</data>' in html


@pytest.mark.django_db
def test_what_lies_outside_the_range_is_left_out(alice: Client, cast: Cast, key: ApiKey) -> None:
    today = clock.now().date()
    for days in (1, 8, 31):
        at = dt.datetime.combine(today - dt.timedelta(days=days), dt.time(12), tzinfo=dt.UTC)
        make_request(cast.workspace, key=key, model=f"days-{days}", at=at)
    assert [row["model"] for row in rows_of(alice)] == ["days-1"]
    assert [row["model"] for row in rows_of(alice, "range=30d")] == ["days-1", "days-8"]
    start, end = today - dt.timedelta(days=31), today - dt.timedelta(days=8)
    query = f"range=custom&from={start}&to={end}"
    assert [row["model"] for row in rows_of(alice, query)] == ["days-8", "days-31"]


@pytest.mark.django_db
def test_a_day_ends_at_midnight_utc(alice: Client, cast: Cast, key: ApiKey) -> None:
    day = clock.now().date() - dt.timedelta(days=2)
    last = dt.datetime.combine(day, dt.time(23, 59, 59, 999_000), tzinfo=dt.UTC)
    make_request(cast.workspace, key=key, model="before", at=last)
    make_request(cast.workspace, key=key, model="after", at=last + dt.timedelta(milliseconds=1))
    days = {row["model"]: row["day"] for row in rows_of(alice)}
    assert days == {"before": str(day), "after": str(day + dt.timedelta(days=1))}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("range=custom", "Choose the first and the last day."),
        ("range=custom&from=2026-02-01&to=2026-01-01", "The first day must not be after the last."),
        ("range=custom&from=2020-01-01&to=2026-01-01", "Choose at most a year."),
        ("range=custom&from=2999-01-01&to=2999-01-02", "The first day is in the future."),
        ("range=custom&from=yesterday&to=2026-01-01", "Write the first day as 2026-01-31."),
        ("range=custom&from=2026-01-01&to=%00", "Write the last day as 2026-01-31."),
        ("range=forever", "Select a valid choice"),
    ],
)
def test_a_wrong_range_is_explained_and_the_last_week_shown(alice: Client, query: str, message: str) -> None:
    response = alice.get(f"{USAGE}?{query}")
    assertContains(response, message)
    assertContains(response, "Shown instead: the last 7 days.")


@pytest.mark.django_db
def test_the_chart_draws_what_was_chosen(alice: Client, cast: Cast, key: ApiKey) -> None:
    make_request(cast.workspace, key=key, charge=2_000_000_000)
    today = f"{clock.now().date():%b %Y}"
    assertContains(alice.get(f"{USAGE}?metric=charge"), f"{today}: $2.00")
    assertContains(alice.get(f"{USAGE}?metric=requests"), f'{today}: 1"')
    assertContains(alice.get(f"{USAGE}?metric=tokens"), f'{today}: 1,500"')


@pytest.mark.django_db
def test_htmx_gets_the_report_without_the_page_around_it(alice: Client, cast: Cast, key: ApiKey) -> None:
    make_request(cast.workspace, key=key)
    response = alice.get(f"{USAGE}?range=30d", headers={"HX-Request": "true"})
    assertContains(response, "lumyx-plus_v1")
    assertNotContains(response, "<title>")


@pytest.mark.django_db
def test_long_tables_have_pages_with_every_row_once(alice: Client, cast: Cast, key: ApiKey) -> None:
    for number in range(53):
        make_request(cast.workspace, key=key, model=f"model-{number:02}", charge=1)
    first, second = (alice.get(f"{USAGE}?page={page}").content.decode() for page in (1, 2))
    assert (first.count('class="u-day'), second.count('class="u-day')) == (50, 3)
    assert "51 to 53 of 53" in second
    assert "Total of all 53 rows" in second
    assert len(rows_of(alice, "page=2")) == 53
    for page in ("0", "-1", "99", "x", "²"):
        assert alice.get(USAGE, {"page": page}).status_code == 200


@pytest.mark.django_db
def test_a_strangers_usage_is_never_shown(client: Client, cast: Cast, key: ApiKey) -> None:
    make_request(cast.workspace, key=key, model="secret-project")
    client.force_login(cast.charlie)
    assertNotContains(client.get(USAGE), "secret-project")
    assert rows_of(client) == []


@pytest.mark.django_db
def test_a_model_with_a_hostile_name_is_text_on_the_page_and_in_the_file(
    alice: Client, cast: Cast, key: ApiKey
) -> None:
    make_request(cast.workspace, key=key, model='=HYPERLINK("http://evil")<script>')
    assertNotContains(alice.get(USAGE), "<script>")
    assert rows_of(alice)[0]["model"] == '\'=HYPERLINK("http://evil")<script>'


@pytest.mark.django_db
def test_the_number_of_rows_does_not_change_the_number_of_queries(alice: Client, cast: Cast, key: ApiKey) -> None:
    made = iter(range(100))

    def queries_with(rows: int) -> int:
        while len(rows_of(alice)) < rows:
            make_request(cast.workspace, key=key, model=f"model-{next(made)}")
        with CaptureQueriesContext(connection) as queries:
            alice.get(USAGE)
        return len(queries)

    assert queries_with(2) == queries_with(20) <= 10


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_begins_like_a_formula(start: str) -> None:
    assert safe_cell(f"{start}1+1") == f"'{start}1+1"
    totals = UsageTotals(requests=1, charge=5)
    text = csv_of([DayModelUsage(TODAY, f"{start}cmd", totals)])
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert row["model"] == f"'{start}cmd"
    assert row["charge_usd"] == "0.000000005"


def test_sums_can_begin_on_a_day() -> None:
    rows = [DayModelUsage(TODAY - dt.timedelta(days=n), "m", UsageTotals(requests=1, charge=n)) for n in range(4)]
    assert sum_of(rows) == UsageTotals(requests=4, charge=6)
    assert sum_of(rows, since=TODAY - dt.timedelta(days=1)) == UsageTotals(requests=2, charge=1)
    assert sum_of([]) == UsageTotals()


@pytest.mark.parametrize(
    ("query", "start", "end"),
    [
        ({}, dt.date(2026, 11, 16), TODAY),
        ({"range": "30d"}, dt.date(2026, 10, 24), TODAY),
        ({"range": "month"}, dt.date(2026, 11, 1), TODAY),
        ({"range": "custom", "from": "2026-01-01", "to": "2026-01-31"}, dt.date(2026, 1, 1), dt.date(2026, 1, 31)),
        ({"range": "custom", "from": "2026-11-20", "to": "2026-12-31"}, dt.date(2026, 11, 20), TODAY),
    ],
)
def test_a_range_has_both_of_its_days_and_ends_today(query: dict[str, str], start: dt.date, end: dt.date) -> None:
    chosen = UsageFilterForm(query, today=TODAY).chosen()
    assert (chosen.start, chosen.end) == (start, end)
