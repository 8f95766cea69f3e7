"""The usual cases of the books in one round trip (migrations billing.0005 and 0012); where they decline, the long way decides.

The answers are those of billing.services.admission on the same rows; a property test compares the two.
"""

import datetime as dt
from collections.abc import Sequence

from billing.types import Admission, Admitted, Settled, Settlement
from lumyx.lib.prepared import Parameters, Prepared, Rows, array, integers_in, numbers, scalar, uuids


def _admit_parameters(admissions: Sequence[Admission]) -> Parameters | None:
    if len({admission.request_id for admission in admissions}) < len(admissions):
        return None
    quotas = [admission.quota for admission in admissions]
    return [
        uuids(a.request_id for a in admissions),
        numbers(a.workspace_id for a in admissions),
        numbers(a.api_key_id for a in admissions),
        array(a.model for a in admissions),
        numbers(a.amount for a in admissions),
        numbers(a.ttl for a in admissions),
        array(quota and quota.subject for quota in quotas),
        numbers(quota.limit if quota else 0 for quota in quotas),
        numbers(a.key_version for a in admissions),
    ]


def _admit_one_parameters(admissions: Sequence[Admission]) -> Parameters:
    (a,) = admissions
    quota = a.quota
    return [
        a.request_id.hex,
        str(a.workspace_id),
        str(a.api_key_id),
        a.model,
        str(a.amount),
        str(a.ttl),
        quota.subject if quota else None,
        str(quota.limit) if quota else None,
        str(a.key_version),
    ]


def _admit_answers(admissions: Sequence[Admission], rows: Rows) -> list[Admitted] | None:
    """Return the answers one after another, each on what the ones before it left; None: nothing was written."""
    if not rows:
        return None
    available: dict[int, int] = {}
    used: dict[str, int] = {}
    for wallet_id, subject, before, _ in rows:
        if wallet_id is not None:
            available[int(wallet_id)] = int(before or 0)
        elif subject is not None:
            used[subject.decode()] = int(before or 0)
    at = dt.datetime.fromisoformat((rows[0][3] or b"").decode())
    answers = []
    for admission in admissions:
        quota, remaining, left = admission.quota, None, available[admission.workspace_id]
        if quota is not None:
            used[quota.subject] += 1
            remaining = max(0, quota.limit - used[quota.subject]) if quota.limit else None
        answers.append(Admitted(admission.request_id, None, admission.amount, left, remaining, at))
        available[admission.workspace_id] = left - admission.amount
    return answers


def settle_parameters(settlements: Sequence[Settlement]) -> Parameters | None:
    """Return ids and rated amounts; None for a batch in which a request comes twice, or one that is wrong."""
    ids = [settlement.request_id for settlement in settlements]
    if len(set(ids)) < len(ids) or any(s.rated is not None and s.rated < 0 for s in settlements):
        return None
    return [uuids(ids), array(settlement.rated for settlement in settlements)]


def settle_answers(settlements: Sequence[Settlement], rows: Rows) -> list[Settled] | None:
    """Return the answers from the one row of charges, an array or a number; None: nothing was written."""
    charges = rows[0][0]
    if charges is None:
        return None
    return [
        Settled(settlement.request_id, charge, max(0, (settlement.rated or 0) - charge), applied=True)
        for settlement, charge in zip(settlements, integers_in(charges), strict=True)
    ]


def settle_one_parameters(settlements: Sequence[Settlement]) -> Parameters | None:
    """Return the id and the rated amount of the one settlement; None for an amount that is wrong."""
    (s,) = settlements
    return None if s.rated is not None and s.rated < 0 else [s.request_id.hex, scalar(s.rated)]


#: Lets all of a batch in, each with the whole hold that it wants.
ADMIT = Prepared(
    "billing_admit_plain",
    "SELECT wallet_id, subject, before, decided_at FROM billing_admit_plain("
    "$1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::float8[], $7::text[], $8::int[], $9::bigint[])",
    _admit_parameters,
    _admit_answers,
    single=Prepared(
        "billing_admit_one",
        "SELECT wallet_id, subject, before, decided_at FROM billing_admit_one($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        _admit_one_parameters,
        _admit_answers,
    ),
)
#: Closes open holds, the charges of each wallet paid by its first grant alone.
SETTLE = Prepared(
    "billing_settle_plain",
    "SELECT billing_settle_plain($1::uuid[], $2::bigint[])",
    settle_parameters,
    settle_answers,
    single=Prepared(
        "billing_settle_one",
        "SELECT billing_settle_one($1, $2, (SELECT wallet_id FROM billing_hold WHERE id = $1))",
        settle_one_parameters,
        settle_answers,
    ),
)
