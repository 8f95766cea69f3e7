"""The audit log as it is read: narrowed down, in words, with people as they are called now; and that acts are in it."""

import datetime as dt

import pytest
from django.test import Client

from accounts.budgets import Budget, BudgetPeriod
from accounts.models import AuditEntry, Membership, User, Workspace
from accounts.roles import Role
from accounts.selectors import audit as log
from accounts.selectors.audit import AuditFilter, all_audit_lines, audit_entries_of, audit_lines
from accounts.services.audit import record
from accounts.services.invitations import invite
from accounts.services.member_budgets import set_member_budget
from accounts.services.policies import accept_policy
from accounts.services.workspaces import remove_member, resume_workspace, set_member, suspend_workspace
from billing.services import by_hand
from billing.services.tiers import set_limits, set_tier
from lumyx.lib import clock
from lumyx.lib.origin import Origin, acting_as
from tests.accounts.admin_pages import page_of
from tests.factories import Cast, make_user

pytestmark = pytest.mark.django_db


def acts_of(workspace: Workspace) -> list[str]:
    """Return what was done in a workspace, oldest first."""
    return list(AuditEntry.objects.filter(workspace_id=workspace.pk).order_by("pk").values_list("action", flat=True))


def test_every_service_writes_its_act_down(cast: Cast) -> None:
    workspace, before = cast.workspace, len(acts_of(cast.workspace))
    dora = make_user()
    set_member(workspace, user=dora, role=Role.VIEWER)
    set_member(workspace, user=dora, role=Role.VIEWER)
    set_member(workspace, user=dora, role=Role.ADMIN)
    remove_member(workspace, user=dora)
    remove_member(workspace, user=dora)
    invite(workspace.pk, email="nina@example.com", role=Role.VIEWER, by=cast.alice)
    accept_policy(workspace.pk, policy="uncensored", accepted_by=cast.alice)
    accept_policy(workspace.pk, policy="uncensored", accepted_by="operator")
    suspend_workspace(workspace.pk, reason="abuse")
    suspend_workspace(workspace.pk, reason="abuse")
    resume_workspace(workspace.pk)
    resume_workspace(workspace.pk)
    set_tier(workspace.pk, tier_slug="vip1")
    set_tier(workspace.pk, tier_slug="vip1")
    set_limits(workspace.pk, daily_requests=7)
    by_hand.grant(workspace_id=workspace.pk, kind="promo", amount=10**9, source="s")
    by_hand.grant(workspace_id=workspace.pk, kind="promo", amount=10**9, source="s")
    by_hand.adjust(workspace_id=workspace.pk, amount=-(10**8), reason="secret reason", actor_id=None, source="a")
    by_hand.set_frozen(workspace_id=workspace.pk, frozen=True)
    by_hand.set_frozen(workspace_id=workspace.pk, frozen=True)
    by_hand.set_frozen(workspace_id=workspace.pk, frozen=False)
    assert acts_of(workspace)[before:] == [
        "member.joined",
        "member.role_changed",
        "member.removed",
        "member.invited",
        "policy.accepted",
        "workspace.suspended",
        "workspace.resumed",
        "billing.tier_set",
        "workspace.limits_changed",
        "billing.credit_granted",
        "billing.credit_adjusted",
        "billing.wallet_frozen",
        "billing.wallet_thawed",
    ]
    assert "secret reason" not in str(list(AuditEntry.objects.values()))


def test_lines_are_in_words_with_people_as_they_are_called_now(cast: Cast) -> None:
    with acting_as(lambda: Origin(kind="user", actor_id=cast.alice.pk, address="192.0.2.9")):
        set_member(cast.workspace, user=cast.bob, role=Role.VIEWER)
    User.objects.filter(pk=cast.bob.pk).update(name="Robert")
    [line] = audit_lines(audit_entries_of(cast.workspace.pk, AuditFilter())[:1])
    assert (line.actor, line.action, line.target, line.details) == (
        "Alice",
        "Changed a person's role",
        "Robert",
        "developer → viewer",
    )
    Membership.objects.filter(user=cast.bob).delete()
    cast.bob.delete()
    [line] = audit_lines(audit_entries_of(cast.workspace.pk, AuditFilter())[:1])
    assert line.target == "Deleted user"


def test_a_budget_is_told_in_words_with_what_it_was_before(cast: Cast) -> None:
    for budget in (Budget(25_000_000_000, BudgetPeriod.WEEK), None):
        set_member_budget(workspace_id=cast.workspace.pk, user_id=cast.bob.pk, budget=budget)
    lines = audit_lines(audit_entries_of(cast.workspace.pk, AuditFilter())[:2])
    assert [line.details for line in lines] == [
        "budget: $25 → none, period: week → none",
        "budget: none → $25, period: none → week",
    ]


def test_the_log_is_narrowed_down(cast: Cast) -> None:
    with acting_as(lambda: Origin(kind="user", actor_id=cast.bob.pk)):
        accept_policy(cast.workspace.pk, policy="uncensored", accepted_by="operator")
    with acting_as(lambda: Origin(kind="operator", actor_id=cast.bob.pk)):
        suspend_workspace(cast.workspace.pk)

    def found(**filters: object) -> list[str]:
        rows = audit_entries_of(cast.workspace.pk, AuditFilter(**filters))  # type: ignore[arg-type]  # of any kind
        return [row.action for row in rows]

    assert found(action="policy") == ["policy.accepted"]
    assert found(actor_kind="user", actor_id=cast.bob.pk) == ["policy.accepted"], (
        "an operator's act is not the person's"
    )
    assert found(action="work") == [], "a group is a whole word"
    now = clock.now()
    assert found(until=now - dt.timedelta(days=1)) == []
    assert len(found(since=now - dt.timedelta(days=1))) == len(acts_of(cast.workspace))


def test_another_workspaces_lines_are_not_in_it(cast: Cast) -> None:
    ours = set(audit_entries_of(cast.workspace.pk, AuditFilter()).values_list("pk", flat=True))
    theirs = set(audit_entries_of(cast.other_workspace.pk, AuditFilter()).values_list("pk", flat=True))
    assert ours
    assert theirs
    assert not ours & theirs


def test_a_long_log_is_read_in_batches_and_whole(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "BATCH", 3)
    for _ in range(7):
        record("workspace.changed", workspace_id=cast.workspace.pk)
    batches = list(all_audit_lines(cast.workspace.pk, AuditFilter()))
    ids = [line.entry.pk for batch in batches for line in batch]
    assert all(len(batch) <= 3 for batch in batches)
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == len(acts_of(cast.workspace))


def test_what_an_operator_changes_in_the_admin_is_in_the_log(cast: Cast, operator: Client) -> None:
    data = {"name": "Renamed", "memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
    data |= {"policy_acceptances-TOTAL_FORMS": "0", "policy_acceptances-INITIAL_FORMS": "0"}
    assert operator.post(page_of(Workspace, "change", cast.workspace.pk), data).status_code == 302
    line = AuditEntry.objects.get(action="operator.changed")
    assert (line.workspace_id, line.actor_kind, line.target_kind) == (cast.workspace.pk, "operator", "workspace")
    assert line.details == {"what": "changed workspace", "fields": ["Name"]}


def test_a_person_who_is_changed_in_the_admin_is_named_by_their_number(cast: Cast, operator: Client) -> None:
    data = {"name": "Robert", "emailaddress_set-TOTAL_FORMS": "0", "emailaddress_set-INITIAL_FORMS": "0"}
    assert operator.post(page_of(User, "change", cast.bob.pk), data).status_code == 302
    line = AuditEntry.objects.get(action="operator.changed")
    assert (line.workspace_id, line.target_kind, line.target_id) == (None, "user", str(cast.bob.pk))
    assert "bob@example.com" not in str(AuditEntry.objects.filter(pk=line.pk).values())


def test_the_log_in_the_admin_is_to_look_at(operator: Client, cast: Cast) -> None:
    line = AuditEntry.objects.latest("pk")
    assert operator.get(page_of(AuditEntry, "changelist"), {"q": str(cast.workspace.pk)}).status_code == 200
    assert 'name="_save"' not in operator.get(page_of(AuditEntry, "change", line.pk)).text
    for path in (page_of(AuditEntry, "add"), page_of(AuditEntry, "delete", line.pk)):
        assert operator.post(path, {"post": "yes"}).status_code == 403
