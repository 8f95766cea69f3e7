"""The ledger with many hands on it at once: threads, each with its own connection to a real PostgreSQL."""

import contextlib
import random
import threading
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from accounts.models import ApiKey
from billing.selectors.ledger import balance_of, broken_invariants, entries_of, open_holds
from billing.services import ledger
from billing.types import Admission, Refusal, Settled, Settlement
from lumyx.lib import clock
from tests.billing.builders import Account, admit_one, make_account, overdue, run_sql, settle_one

pytestmark = pytest.mark.django_db(transaction=True)

HANDS = 16


def at_once[T, R](work: Callable[[T], R], items: Sequence[T], *, hands: int = HANDS) -> list[R]:
    """Do the work for all items, in threads that begin together, each on its own connection; return results in order."""
    gate = threading.Barrier(min(hands, len(items)))
    waiting = deque(enumerate(items))
    results: dict[int, R] = {}

    def hand() -> None:
        try:
            connection.ensure_connection()
            gate.wait(timeout=30)
            with contextlib.suppress(IndexError):
                while True:
                    number, item = waiting.popleft()
                    results[number] = work(item)
        finally:
            connection.close()

    with ThreadPoolExecutor(gate.parties) as pool:
        for done in [pool.submit(hand) for _ in range(gate.parties)]:
            done.result()
    return [results[number] for number in range(len(items))]


def test_100_requests_at_once_on_a_quota_of_25_are_exactly_25() -> None:
    account = make_account()
    answers = at_once(admit_one, [account.free_request(25) for _ in range(100)])
    admitted = [answer for answer in answers if answer.refusal is None]
    assert sorted(answer.quota_remaining or 0 for answer in admitted) == list(range(25))
    refused = [answer for answer in answers if answer.refusal is not None]
    assert {(answer.refusal, answer.quota_remaining) for answer in refused} == {(Refusal.QUOTA_EXCEEDED, 0)}
    assert len(refused) == 75


def test_ten_workspaces_of_one_owner_at_once_are_exactly_25() -> None:
    accounts = [make_account() for _ in range(10)]
    requests = [account.free_request(25, subject="u:4711") for _ in range(8) for account in accounts]
    answers = at_once(admit_one, requests)
    assert sorted(a.quota_remaining or 0 for a in answers if a.refusal is None) == list(range(25))


def test_a_balance_for_seven_lets_exactly_seven_in() -> None:
    account = make_account()
    account.fund(7 * 100 + 99)
    answers = at_once(admit_one, [account.request(100) for _ in range(60)])
    assert Counter(answer.refusal for answer in answers) == {None: 7, Refusal.INSUFFICIENT_CREDITS: 53}
    assert balance_of(account.id).available == 99


def test_settlements_at_once_never_spend_a_grant_twice() -> None:
    """The trap of reading grants in the statement that waits for the lock: many small grants, all hands on one wallet."""
    account = make_account()
    for _ in range(30):
        account.fund(10, kind="promo")
    requests = [account.request(10) for _ in range(30)]
    ledger.admit(requests)
    answers = at_once(lambda request: settle_one(request, 7), requests)
    assert sum(answer.charge for answer in answers) == 210
    balance = balance_of(account.id)
    assert (balance.posted, balance.held) == (90, 0)
    assert balance.by_kind == {"promo": 90}


def test_one_request_settled_by_many_hands_is_charged_once() -> None:
    account = make_account()
    account.fund(1000)
    request = account.request(100)
    admit_one(request)
    answers = at_once(lambda rated: settle_one(request, rated), [40, 50, 60, None] * 8)
    assert sum(answer.applied for answer in answers) == 1
    charge = next(answer.charge for answer in answers if answer.applied)
    assert {answer.charge for answer in answers} == {charge}
    assert balance_of(account.id).posted == 1000 - charge


def test_one_request_admitted_by_many_hands_holds_once() -> None:
    account = make_account()
    account.fund(1000)
    paid, free = account.request(100), account.free_request(25)
    answers = at_once(admit_one, [paid, free] * 16)
    assert {answer.refusal for answer in answers} == {None}
    assert {answer.quota_remaining for answer in answers[1::2]} == {24}
    assert balance_of(account.id).held == 100
    assert run_sql("SELECT used FROM billing_dailyquota") == [(1,)]


def test_the_first_requests_of_a_workspace_make_one_wallet() -> None:
    accounts = [make_account() for _ in range(4)]
    at_once(admit_one, [account.request(1) for _ in range(6) for account in accounts])
    assert run_sql("SELECT count(*) FROM billing_wallet") == [(4,)]
    assert run_sql("SELECT count(*) FROM billing_creditgrant WHERE kind = 'overdraft'") == [(4,)]


def test_a_source_granted_by_many_hands_gives_once() -> None:
    account = make_account()

    def give(_number: int) -> bool:
        return ledger.grant(workspace_id=account.id, kind="paid", amount=500, source="invoice:1").created

    assert sum(at_once(give, range(24))) == 1
    assert balance_of(account.id).posted == 500


def test_a_clawback_by_many_hands_is_taken_once() -> None:
    account = make_account()
    source = account.fund(500)

    def take(_number: int) -> bool:
        return ledger.clawback(workspace_id=account.id, grant_source=source, source="refund:1", amount=200).applied

    assert sum(at_once(take, range(24))) == 1
    assert balance_of(account.id).posted == 300


def test_settling_and_expiring_at_once_close_each_hold_once() -> None:
    account = make_account()
    account.fund(10_000)
    requests = [account.request(100) for _ in range(40)]
    ledger.admit(requests)
    overdue(*requests)
    expired: list[uuid.UUID] = []

    def end(request: Admission | None) -> int:
        if request is None:
            expired.extend(hold.request_id for hold in ledger.expire_holds(limit=7))
            return 0
        return settle_one(request, 60).charge

    work = [item for request in requests for item in (request, None)]
    assert sum(at_once(end, work)) == 40 * 60
    assert len(expired) == len(set(expired))
    assert (balance_of(account.id).posted, balance_of(account.id).held) == (10_000 - 2400, 0)
    assert open_holds() == []


def test_two_sweepers_write_an_expired_grant_off_once() -> None:
    accounts = [make_account() for _ in range(6)]
    for account in accounts:
        account.fund(70, kind="vip", expires_in=-1)
    swept = at_once(lambda _number: ledger.sweep_grants(), range(8))
    assert sum(swept) == 6
    assert [len(entries_of(account.id, limit=9)) for account in accounts] == [2] * 6


def test_a_revocation_that_is_committed_is_seen_by_the_next_admission() -> None:
    account = make_account()
    account.fund(1000)
    requests = [account.request(1) for _ in range(50)]
    revoked = threading.Event()

    def work(item: Admission | None) -> tuple[bool, bool]:
        if item is None:
            ApiKey.objects.filter(pk=account.api_key_id).update(revoked_at=clock.now())
            revoked.set()
            return False, False
        was_revoked = revoked.is_set()
        return was_revoked, admit_one(item).refusal is None

    outcomes = at_once(work, [*requests[:20], None, *requests[20:]])
    assert (True, True) not in outcomes
    assert (True, False) in outcomes


def test_everything_at_once_on_the_same_wallets_neither_deadlocks_nor_loses_a_nano_dollar() -> None:
    accounts = [make_account() for _ in range(5)]
    funded = Counter({account.id: 0 for account in accounts})
    for account in accounts:
        account.fund(5000)
        funded[account.id] += 5000
    lock, charges = threading.Lock(), Counter({account.id: 0 for account in accounts})

    def live(seed: int) -> None:
        rng = random.Random(seed)
        for step in range(6):
            chosen = [rng.choice(accounts) for _ in range(rng.randint(1, 8))]
            batch = [a.request(rng.randint(1, 300)) if rng.random() < 0.6 else free_of(a, rng) for a in chosen]
            rng.shuffle(batch)
            admitted = [r for r, answer in zip(batch, ledger.admit(batch), strict=True) if answer.refusal is None]
            if rng.random() < 0.3:
                overdue(*rng.sample(admitted, len(admitted) // 2))
                ledger.expire_holds(limit=5)
            if rng.random() < 0.3:
                ledger.extend_holds([request.request_id for request in admitted], ttl=900.0)
            rng.shuffle(admitted)
            endings = [Settlement(r.request_id, rng.choice([None, 0, rng.randint(1, 400)])) for r in admitted]
            spend(endings + endings[:2], admitted)
            if rng.random() < 0.4:
                target = rng.choice(accounts)
                target.fund(100, kind="promo", source=f"storm:{seed}:{step}")
                with lock:
                    funded[target.id] += 100

    def free_of(account: Account, rng: random.Random) -> Admission:
        return account.free_request(0, subject=f"u:{rng.randint(1, 3)}")

    def spend(endings: list[Settlement], admitted: Iterable[Admission]) -> None:
        owner = {request.request_id: request.workspace_id for request in admitted}
        for answer in ledger.settle(endings):
            if answer.applied:
                with lock:
                    charges[owner[answer.request_id]] += answer.charge

    at_once(live, range(24), hands=12)
    for account in accounts:
        balance = balance_of(account.id)
        assert (balance.posted, balance.held) == (funded[account.id] - charges[account.id], 0)
        assert balance.posted >= 0 or "overdraft" in (balance.by_kind or {})
    assert broken_invariants() == []


def test_quotas_shared_by_many_workspaces_are_claimed_and_given_back_without_deadlock() -> None:
    """No wallet is shared here, so that only the order of the quota rows keeps the hands from waiting in a ring."""
    accounts = [make_account() for _ in range(8)]
    subjects = [f"u:{number}" for number in range(12)]

    def claim_and_give_back(account: Account) -> None:
        rng = random.Random(account.id)
        for _ in range(12):
            rng.shuffle(subjects_of := list(subjects))
            batch = [account.free_request(0, subject=subject) for subject in subjects_of]
            ledger.admit(batch)
            rng.shuffle(batch)
            ledger.settle([Settlement(request.request_id, None) for request in batch])

    at_once(claim_and_give_back, accounts, hands=8)
    assert run_sql("SELECT count(*), sum(used) FROM billing_dailyquota") == [(12, 0)]


def test_a_connection_that_dies_in_the_middle_leaves_nothing() -> None:
    account = make_account()
    account.fund(1000)
    requests = [account.request(100), account.free_request(25)]

    def die(_number: int) -> None:
        with pytest.raises(Exception, match=r"terminat|closed"), transaction.atomic():  # noqa: PT012  it dies between two
            ledger.admit(requests)
            run_sql("SELECT pg_terminate_backend(pg_backend_pid())")

    at_once(die, [1], hands=1)
    assert balance_of(account.id).held == 0
    assert open_holds() == []
    assert [answer.refusal for answer in ledger.admit(requests)] == [None, None]


def test_holds_that_were_lost_are_placed_again_without_deadlocks() -> None:
    first, second = make_account(), make_account()
    for account in (first, second):
        account.fund(10**9)
    for _ in range(20):
        batches = []
        for known, lost in ((first, second), (second, first)):
            kept, gone = known.request(10), lost.request(10)
            admit_one(kept)
            batches.append([Settlement(kept.request_id, 5, kept), Settlement(gone.request_id, 5, gone)])
        settled = at_once(_settle_all, batches, hands=2)
        assert [one.charge for batch in settled for one in batch] == [5] * 4
    assert balance_of(first.id).posted == balance_of(second.id).posted == 10**9 - 20 * 10


def _settle_all(batch: list[Settlement]) -> list[Settled]:
    with transaction.atomic():
        return ledger.settle(batch)


def test_credit_that_expires_while_the_lock_is_waited_for_admits_nothing() -> None:
    account = make_account()
    account.fund(100, kind="promo", expires_in=0.4)
    locked, tried = threading.Event(), threading.Event()

    def hold_the_lock() -> None:
        try:
            with transaction.atomic():
                run_sql("SELECT 1 FROM billing_wallet WHERE workspace_id = %s FOR UPDATE", account.id)
                locked.set()
                tried.wait(5)
                run_sql("SELECT pg_sleep(0.6)")
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(hold_the_lock)
        locked.wait(5)
        tried.set()
        answer = admit_one(account.request(10))
        holding.result()
    assert answer.refusal is Refusal.INSUFFICIENT_CREDITS
    assert balance_of(account.id).held == 0
