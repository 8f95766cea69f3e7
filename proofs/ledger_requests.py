"""Steps of the ledger's simulator that are about requests: they ask, they end, they get old."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from copy import replace

from billing.services import ledger
from billing.types import Admission, Admitted, ExpiredHold, QuotaClaim, Settled, Settlement
from gateway.services.settlement import settle_exchanges
from gateway.services.sweeping import sweep_expired_holds
from gateway.services.usage import UsageRecord
from lumyx.lib import clock
from lumyx.lib.ids import uuid7
from proofs.ledger_case import Case, run_sql
from proofs.ledger_model import ModelAnswer, ModelHold, ModelWallet

#: Free requests a day of each subject, and the most that a request holds. Small numbers meet at their edges.
QUOTA, HOLD = 60, 12
#: More than any wallet has, in units.
HUGE = 2_000
#: A workspace that is not there.
NOWHERE = 2**40
SIZES = (1, 1, 1, 2, 4, 8, 16, 32, 64, 200)
LONG, DUE_AT_ONCE = 600.0, 0.0

ODD = (
    *(("fixed", "flexible", "free", "again") * 3),
    *("any", "any", "unlimited", "unlimited", "both", "both", "huge", "foreign", "nowhere"),
)
NOT_LET_IN = {"key_orphaned", "key_revoked", "key_expired", "key_disabled", "workspace_suspended"}

type Asked = tuple[int, Admission]
type Due = Mapping[uuid.UUID, tuple[ModelWallet, ModelHold]]


def draw_batch(case: Case) -> list[Asked]:
    """Return requests. Many batches are plain (all new, all small): they are what the short way is for; many are but for one."""
    chance = case.chance
    mood = chance.choice(("plain", "plain", "but for one", "odd"))
    plain = chance.choice((("fixed",), ("free",), ("fixed", "free")))
    kinds = [chance.choice(ODD if mood == "odd" else plain) for _ in range(chance.choice(SIZES))]
    if mood == "but for one":
        kinds[chance.randrange(len(kinds))] = chance.choice(ODD)
    batch: list[Asked] = []
    for kind in kinds:
        if kind == "again" and (case.asked or batch):
            batch.append(chance.choice(batch if batch and chance.random() < 0.3 else case.asked or batch))
        else:
            batch.append(draw_request(case, case.some_wallet(), kind))
    return batch


def draw_request(case: Case, who: int, kind: str) -> Asked:
    """Return a new request of a wallet."""
    chance, account = case.chance, case.accounts[who]
    amount = {"free": 0, "unlimited": 0, "huge": HUGE * case.unit}.get(kind, chance.randint(0, HOLD * case.unit))
    floors = {"flexible": amount // 3, "any": 0}
    has_quota = kind in {"free", "unlimited", "both"}
    request = Admission(
        request_id=uuid7(),
        workspace_id=NOWHERE if kind == "nowhere" else account.workspace_id,
        api_key_id=case.accounts[who - 1].api_key_id if kind == "foreign" else account.api_key_id,
        model=f'proof"\\{{{kind}}}',  # what an array must quote
        amount=amount,
        floor=floors.get(kind, amount),
        ttl=DUE_AT_ONCE if chance.random() < 0.02 else LONG,
        quota=QuotaClaim(case.subject(who), 0 if kind == "unlimited" else QUOTA) if has_quota else None,
    )
    return who, request


def admit(case: Case) -> None:
    """Ask for a batch; now and then for all of it again, as a door does whose answer was lost."""
    batch = draw_batch(case)
    answers, again = case.survive(lambda: ledger.admit([request for _, request in batch]))
    judge_admissions(case, batch, answers, again=again)
    if case.chance.random() < 0.05:
        judge_admissions(case, batch, ledger.admit([request for _, request in batch]), again=False)
        case.counts["admitted_twice"] += len(batch)


def judge_admissions(case: Case, batch: Sequence[Asked], answers: Sequence[Admitted], *, again: bool) -> None:
    """Compare answers with the model's. ``again``: a first try may have been committed, so what is left may be less."""
    for who in {who for who, request in batch if request.workspace_id != NOWHERE}:
        case.models[who].sweep()
    told: dict[uuid.UUID, ModelAnswer] = {}
    due = (1, case.next_moment())
    for (who, request), answer in zip(batch, answers, strict=True):
        id, model = request.request_id, case.models[who]
        if id not in told:
            is_new = id not in model.holds
            told[id] = model.admit(request)
            if is_new and told[id].refusal is None:
                model.holds[id].due = due if request.ttl == DUE_AT_ONCE else None
                case.asked.append((who, request))
                case.open.append((who, id))
        judge_admission(case, who, request, answer=answer, expected=told[id], again=again)
    case.counts["admit"] += len(batch)
    whole = all(told[r.request_id].refusal is None and told[r.request_id].held == r.amount for _, r in batch)
    case.counts["plain_batches" if whole and len(told) == len(batch) else "odd_batches"] += 1


def judge_admission(
    case: Case, who: int, request: Admission, *, answer: Admitted, expected: ModelAnswer, again: bool
) -> None:
    """Compare one answer with the model's."""
    refusal = expected.refusal
    if refusal is None or not again:
        case.same("an admission", (answer.refusal, answer.held), (refusal, expected.held))
    else:
        case.same("a refusal", answer.refusal is None, False)
    case.same("whose answer it is", answer.request_id, request.request_id)
    if not again and request.workspace_id != NOWHERE:
        case.same("what is available", answer.available, expected.available)
        # The quota of who is not let in at all need not be looked at.
        if refusal not in NOT_LET_IN and not case.models[who].barred:
            case.same("what is left of a quota", answer.quota_remaining, expected.remaining)
    if refusal is not None:
        case.counts["refused"] += 1
        case.counts[f"{refusal}"] += 1


def settle(case: Case) -> None:
    """End a batch of requests, with their usage or without."""
    batch = draw_settlements(case)
    settlements = [settlement for _, settlement in batch]
    work: Callable[[], list[Settled]] = lambda: ledger.settle(settlements)  # noqa: E731  two doors under one name
    with_usage = case.chance.random() < 0.5
    if with_usage:
        records = [record_of(case, who, settlement) for who, settlement in batch]
        work = lambda: settle_exchanges(list(zip(settlements, records, strict=True)))  # noqa: E731
    answers, again = case.survive(work)
    for who in case.wallets:
        lost = case.models[who].place_lost([settlement for owner, settlement in batch if owner == who])
        case.counts["placed_again"] += lost
    for (who, settlement), answer in zip(batch, answers, strict=True):
        id = settlement.request_id
        charge, absorbed, applied = case.models[who].settle(id, settlement.rated)
        case.same("a charge", (answer.request_id, answer.charge), (id, charge))
        # After a connection that broke, the first try may have been the one that counted.
        if answer.applied or not (again and applied):
            case.same("a settlement", (answer.absorbed, answer.applied), (absorbed, applied))
        if applied and with_usage:
            case.recorded[id] = (charge, absorbed)
        case.counts["release" if settlement.rated is None else "settle"] += 1
        case.counts["settled_twice"] += not applied


def draw_settlements(case: Case) -> list[tuple[int, Settlement]]:
    """Return endings: mostly of open requests, some of closed ones, some twice, some of requests whose hold is not there."""
    chance = case.chance
    case.open = [(who, id) for who, id in case.open if case.models[who].holds[id].state in {"open", "expired"}]
    ids = chance.sample(case.open, min(len(case.open), chance.choice(SIZES)))
    if case.asked and chance.random() < 0.3:
        who, request = chance.choice(case.asked)
        ids.append((who, request.request_id))
    if ids and chance.random() < 0.1:
        ids.append(chance.choice(ids))
    releases = chance.random() < 0.5
    batch = []
    for who, id in ids:
        rated = None if releases and chance.random() < 0.3 else chance.randint(0, 2 * HOLD * case.unit)
        hold = case.models[who].holds[id]
        known = replace(hold.request, amount=hold.amount) if chance.random() < 0.5 else None
        batch.append((who, Settlement(id, rated, known)))
    if chance.random() < 0.1:
        who, request = draw_request(case, case.some_wallet(), chance.choice(("fixed", "free", "both")))
        rated = chance.choice((None, 0, chance.randint(0, 2 * HOLD * case.unit)))
        batch.append((who, Settlement(request.request_id, rated, chance.choice((request, request, None)))))
    return batch


def record_of(case: Case, who: int, settlement: Settlement) -> UsageRecord:
    """Return what the usage event of a request would say."""
    return UsageRecord(
        id=settlement.request_id,
        workspace_id=case.accounts[who].workspace_id,
        api_key_id=case.accounts[who].api_key_id,
        model="proof",
        usage_source="none" if settlement.rated is None else "upstream",
        status="released" if settlement.rated is None else "ok",
        http_status=200,
        started_at=clock.now(),
        duration_ms=1,
    )


def expire(case: Case) -> None:
    """Let a few holds get old, let some of them live longer, and close those that are due."""
    chance = case.chance
    grow_old(case)
    if chance.random() < 0.4:
        extend(case)
    due = {hold.request.request_id: (model, hold) for model, hold in case.open_holds() if hold.due}
    seen = run_sql("SELECT id FROM billing_hold WHERE state = 'open' AND expires_at <= statement_timestamp()")
    case.same("holds that are due", {row[0] for row in seen}, due.keys())
    if chance.random() < 0.3:
        case.same("swept holds", sweep_expired_holds(), len(due))
        closed = set(due)
        case.recorded |= dict.fromkeys(due, (0, 0))
    elif chance.random() < 0.3:
        closed = judge_expired(case, due, ledger.expire_holds(limit=3), limit=3)
    else:
        answers, again = case.survive(ledger.expire_holds)
        closed = set(due) if again and not answers else judge_expired(case, due, answers, limit=1000)
    for id in closed:
        due[id][0].expire(due[id][1])
    case.counts["expire"] += len(closed)


def grow_old(case: Case) -> None:
    """Move the time of a few open holds into the past, one after another."""
    running = [hold for _, hold in case.open_holds()]
    late = case.chance.sample(running, min(len(running), case.chance.randint(0, 6)))
    for hold in late:
        hold.due = (0, case.next_moment())
    run_sql(
        "UPDATE billing_hold h SET expires_at = timestamptz '2020-01-01' + make_interval(secs => o.moment)"
        " FROM unnest(%s::uuid[], %s::int[]) AS o (id, moment) WHERE h.id = o.id",
        [hold.request.request_id for hold in late],
        [hold.due[1] for hold in late if hold.due],
    )


def extend(case: Case) -> None:
    """Let a few requests live longer, closed and running ones; nobody's time gets shorter by it."""
    ids = case.chance.sample(case.asked, min(len(case.asked), 8))
    ttl = case.chance.choice((LONG, DUE_AT_ONCE))
    ledger.extend_holds([request.request_id for _, request in ids], ttl=ttl)
    due = (1, case.next_moment())
    for who, request in ids:
        hold = case.models[who].holds[request.request_id]
        if hold.state == "open" and hold.due:
            hold.due = due if ttl == DUE_AT_ONCE else None
        case.counts["extend"] += 1


def judge_expired(case: Case, due: Due, answers: Sequence[ExpiredHold], *, limit: int) -> set[uuid.UUID]:
    """Compare closed holds with those that were due, and return them: the oldest first, each with what it was."""
    closed = {answer.request_id for answer in answers}
    case.same("closed holds that were not due", closed - due.keys(), set())
    case.same("how many were closed", (len(answers), len(closed)), (min(limit, len(due)),) * 2)
    left = [hold.due for id, (_, hold) in due.items() if id not in closed and hold.due]
    for answer in answers:
        hold = due[answer.request_id][1]
        asked, claim = hold.request, hold.request.quota is not None
        case.same(
            "a closed hold",
            (answer.workspace_id, answer.api_key_id, answer.model, answer.is_free),
            (asked.workspace_id, asked.api_key_id, asked.model, claim),
        )
        if left and hold.due:
            case.same("an older hold is left", hold.due <= min(left), True)
    return closed
