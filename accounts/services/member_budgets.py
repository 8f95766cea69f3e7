"""What a person may spend in a workspace, over all keys that they made in it."""

from django.db import transaction

from accounts.budgets import Budget
from accounts.models import Membership
from accounts.services import audit
from accounts.services.key_options import budget_columns, option_in_words


class MemberNotFoundError(LookupError):
    """The workspace has no such member."""


@transaction.atomic
def set_member_budget(*, workspace_id: int, user_id: int, budget: Budget | None) -> Membership:
    """Give a member a budget (nano-USD in each period), another one, or none. It acts on their keys from the next admission on.

    Raises:
        InvalidApiKeyOptionError: the amount is not above zero.
        MemberNotFoundError: they are not in the workspace.
    """
    member = Membership.objects.select_for_update().filter(workspace_id=workspace_id, user_id=user_id).first()
    if member is None:
        raise MemberNotFoundError("This person is not a member of the workspace.")
    columns = budget_columns(budget)
    old = {name: getattr(member, name) for name in columns}
    if old != columns:
        for name, value in columns.items():
            setattr(member, name, value)
        member.save(update_fields=list(columns))
        details = {name: [option_in_words(name, old[name]), option_in_words(name, columns[name])] for name in columns}
        target = ("user", user_id, "")
        audit.record("member.budget_changed", workspace_id=workspace_id, target=target, details=details)
    return member
