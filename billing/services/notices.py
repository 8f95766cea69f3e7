"""E-mails that are owed: written in the transaction of what they tell of, so that neither comes without the other."""

from collections.abc import Mapping

from billing.models import Notice


def owe(kind: str, *, workspace_id: int, key: str, facts: Mapping[str, str | int | bool]) -> bool:
    """Owe the people of a workspace a notice, once per key; False if it was owed before. Amounts in facts are nano-USD."""
    _row, is_new = Notice.objects.get_or_create(
        key=key[:200], defaults={"kind": kind, "workspace_id": workspace_id, "facts": dict(facts)}
    )
    return is_new
