"""The operators' commands of billing: what they print, what they refuse, how they exit."""

import io
import json
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from billing.models import Adjustment
from billing.selectors.ledger import balance_of, entries_of
from lumyx.lib.money import NANO_PER_USD
from tests.billing.builders import Account, admit_one, make_account, overdue, run_sql, settle_one

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    """A workspace with a key and nothing else."""
    return make_account()


def run(*arguments: str) -> dict[str, Any]:
    """Run a command with --json and return its object."""
    out = io.StringIO()
    call_command(*arguments, "--json", stdout=out, stderr=io.StringIO())
    answer: dict[str, Any] = json.loads(out.getvalue().splitlines()[-1])
    return answer


def fail(*arguments: str) -> tuple[dict[str, Any], str]:
    """Run a command that fails; return its object and its message."""
    out = io.StringIO()
    with pytest.raises(CommandError) as error:
        call_command(*arguments, "--json", stdout=out, stderr=io.StringIO())
    return json.loads(out.getvalue().splitlines()[-1]), str(error.value)


def say(*arguments: str) -> str:
    """Run a command without --json and return its words."""
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue().strip()


def grant(account: Account, **options: str) -> tuple[str, ...]:
    """Return the words of a grant command."""
    given = {"workspace": account.workspace.slug, "amount": "12.5", "kind": "paid", "source": "test:1", **options}
    return ("credits", "grant", *(word for name, value in given.items() for word in (f"--{name}", value)))


def test_a_grant_is_given_once_and_says_so(account: Account) -> None:
    first, second = run(*grant(account)), run(*grant(account))
    assert (first["created"], second["created"]) == (True, False)
    assert first["grant"] == second["grant"]
    assert (first["amount"], first["posted"], second["available"]) == ("12500000000",) * 3
    assert balance_of(account.id).posted == 12_500_000_000


def test_a_grant_speaks_to_people(account: Account) -> None:
    slug = account.workspace.slug
    assert say(*grant(account)) == f"$12.50 paid given to {slug}; it has $12.50 available."
    assert "was granted before" in say(*grant(account))


@pytest.mark.parametrize("expires", ["2099-01-31", "2099-01-31T00:00:00", "2099-01-31T01:00:00+01:00"])
def test_a_grant_can_expire(account: Account, expires: str) -> None:
    run(*grant(account, kind="promo", expires=expires))
    expiry = entries_of(account.id, limit=1)[0].expires_at
    assert expiry is not None
    assert expiry.isoformat() == "2099-01-31T00:00:00+00:00"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workspace": "nowhere"}, "There is no workspace 'nowhere'."),
        ({"amount": "much"}, "'much' is not an amount in US dollars."),
        ({"amount": "0"}, "above zero"),
        ({"amount": "-3"}, "above zero"),
        ({"amount": "0.0000000001"}, "more than nine decimals"),
        ({"expires": "2099-01-31"}, "Paid credit never expires."),
        ({"kind": "promo", "expires": "soon"}, "'soon' is not an ISO date or time"),
        ({"kind": "promo", "expires": "2099-02-31"}, "is not an ISO date or time"),
        ({"kind": "promo", "expires": "2020-01-01"}, "is in the past"),
        ({"kind": "promo", "expires": "9999-12-31T23:59:59-12:00"}, "not within the years 1 to 9999"),
        ({"source": " "}, "needs a source"),
        ({"source": "x" * 201}, "at most 200 characters"),
    ],
)
def test_a_wrong_grant_is_refused_with_a_reason(account: Account, options: dict[str, str], message: str) -> None:
    answer, text = fail(*grant(account, **options))
    assert message in text
    assert answer == {"error": {"code": "failed", "message": text}}
    assert balance_of(account.id).posted == 0


def test_a_grant_that_the_books_could_not_hold_is_refused(account: Account) -> None:
    run(*grant(account, amount="9000000000"))
    _answer, text = fail(*grant(account, amount="9000000000", source="again"))
    assert text == "The balance would be more than $9,223,372,036.85, which the books cannot hold."
    assert balance_of(account.id).posted == 9_000_000_000 * NANO_PER_USD


def test_a_source_with_another_amount_is_refused(account: Account) -> None:
    run(*grant(account))
    _answer, text = fail(*grant(account, amount="13"))
    assert "granted before" in text


def test_a_balance_is_in_nano_dollars_as_strings(account: Account) -> None:
    account.fund(1000)
    admit_one(account.request(300))
    answer = run("ledger", "balance", "--workspace", account.workspace.slug)
    assert (answer["posted"], answer["held"], answer["available"]) == ("1000", "300", "700")
    assert answer["by_kind"] == {"paid": "1000"}
    assert "$0.000001 available" in say("ledger", "balance", "--workspace", account.workspace.slug)


def test_a_workspace_that_was_never_funded_has_a_balance_of_zero(account: Account) -> None:
    answer = run("ledger", "balance", "--workspace", account.workspace.slug)
    assert (answer["posted"], answer["held"], answer["available"], answer["frozen"]) == ("0", "0", "0", False)


@pytest.mark.parametrize("command", ["balance", "verify", "holds"])
def test_an_unknown_workspace_is_a_clear_error(command: str) -> None:
    _answer, text = fail("ledger", command, "--workspace", "nowhere")
    assert text == "There is no workspace 'nowhere'."


def test_sound_books_pass_the_audit(account: Account) -> None:
    account.fund(1000)
    assert run("ledger", "audit") == {"broken": []}
    assert say("ledger", "audit") == "The books add up."
    assert run("ledger", "verify", "--workspace", account.workspace.slug) == {"checked": 4, "wrong": []}


@pytest.mark.breaks_the_books
def test_broken_books_fail_the_audit_and_name_the_rule(account: Account) -> None:
    account.fund(1000)
    run_sql("UPDATE billing_wallet SET held = 5")
    row = {
        "invariant": "held_is_sum_of_open_holds",
        "wallet_id": account.id,
        "subject": str(account.id),
        "actual": "5",
        "expected": "0",
    }
    assert fail("ledger", "audit") == ({"broken": [row]}, "1 broken in the books.")
    assert fail("ledger", "verify", "--workspace", account.workspace.slug)[0] == {"checked": 4, "wrong": [row]}


def test_holds_are_listed_with_their_age(account: Account) -> None:
    account.fund(1000)
    old, done = account.request(300), account.request(100)
    admit_one(old)
    admit_one(done)
    settle_one(done, 5)
    other = make_account()
    admit_one(other.free_request(25))
    overdue(old)
    holds = run("ledger", "holds")["holds"]
    assert [hold["workspace"] for hold in holds] == [account.workspace.slug, other.workspace.slug]
    first = holds[0]
    assert (first["id"], first["amount"], first["overdue"]) == (str(old.request_id), "300", True)
    assert 0 <= first["age"] < 60
    assert len(run("ledger", "holds", "--workspace", other.workspace.slug)["holds"]) == 1
    assert "overdue" in say("ledger", "holds", "--workspace", account.workspace.slug)


def test_no_open_holds_is_said() -> None:
    assert run("ledger", "holds") == {"holds": []}
    assert say("ledger", "holds") == "No open holds."


def adjust(account: Account, *words: str, **options: str) -> tuple[str, ...]:
    """Return the words of an adjust command."""
    given = {"workspace": account.workspace.slug, "amount": "-2.5", "reason": "Charged twice", **options}
    return ("credits", "adjust", *(word for name, value in given.items() for word in (f"--{name}", value)), *words)


def test_a_balance_is_adjusted_once_per_source(account: Account) -> None:
    account.fund(10 * NANO_PER_USD)
    first, second = (run(*adjust(account, source="ticket:1")) for _ in range(2))
    assert (first["applied"], second["applied"]) == (True, False)
    assert (first["amount"], first["taken"], first["owed"]) == ("-2500000000", "2500000000", "0")
    assert second["available"] == "7500000000"
    row = Adjustment.objects.get()
    assert (row.amount, row.reason, row.source, row.actor) == (-2_500_000_000, "Charged twice", "ticket:1", None)


def test_without_a_source_every_run_is_its_own(account: Account) -> None:
    slug = account.workspace.slug
    assert say(*adjust(account, amount="5", note="Sorry")) == f"Adjusted {slug} by $5.00; it has $5.00 available."
    assert say(*adjust(account, amount="5")) == f"Adjusted {slug} by $5.00; it has $10.00 available."
    assert {entry.grant_note for entry in entries_of(account.id, limit=2)} == {"Sorry", ""}
    assert all(source.startswith("cli:") for source in Adjustment.objects.values_list("source", flat=True))


def test_a_debt_is_made_only_where_it_is_allowed(account: Account) -> None:
    account.fund(NANO_PER_USD)
    _answer, text = fail(*adjust(account))
    assert text.startswith("Only $1.000000 can be taken")
    assert run(*adjust(account, "--allow-debt"))["owed"] == "1500000000"
    assert balance_of(account.id).available == -1_500_000_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workspace": "nowhere"}, "There is no workspace 'nowhere'."),
        ({"amount": "much"}, "'much' is not an amount in US dollars."),
        ({"amount": "0"}, "not zero"),
        ({"reason": " "}, "needs a reason"),
        ({"reason": "x" * 501}, "reason and note 500"),
        ({"source": "x" * 181}, "at most 180 characters"),
    ],
)
def test_a_wrong_adjustment_is_refused_with_a_reason(account: Account, options: dict[str, str], message: str) -> None:
    _answer, text = fail(*adjust(account, **options))
    assert message in text
    assert not Adjustment.objects.exists()
