"""The audit log's page and file: who did what, from where, newest first."""

from collections.abc import Iterator
from urllib.parse import urlencode

from django.http import Http404
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.timezone import localtime
from django.views.decorators.http import require_GET, require_safe

from accounts.roles import Permission
from accounts.selectors.audit import (
    AuditFilter,
    AuditLine,
    all_audit_lines,
    audit_entries_of,
    audit_lines,
    people_in_audit_log,
)
from accounts.services.audit import record
from dashboard.csv_files import csv_response
from dashboard.guards import MemberRequest, member_required
from dashboard.team_forms import AuditFilterForm
from dashboard.views.credits import entry_id
from lumyx.lib import clock

PAGE = "dashboard/audit.html"
LINES_PER_PAGE = 50
COLUMNS = ("time", "action", "what", "actor", "actor id", "target", "target kind", "target id", "details", "address")


@require_safe
@member_required(Permission.VIEW_AUDIT)
def show_audit(request: MemberRequest) -> HttpResponseBase:
    """Show lines of the log. ``before`` (a line's id) goes back in time; ``group``, ``person``, ``from`` and ``to`` narrow it."""
    form = _form(request)
    chosen, before = form.chosen(request.workspace.time_zone), entry_id(request.GET.get("before"))
    found = list(audit_entries_of(request.workspace.pk, chosen, before=before)[: LINES_PER_PAGE + 1])
    shown = found[:LINES_PER_PAGE]
    kept = {name: request.GET[name] for name in ("group", "person", "from", "to") if request.GET.get(name)}
    context = {
        "form": form,
        "lines": audit_lines(shown),
        "is_narrowed": bool(kept),
        "is_first_page": before is None,
        "newest_href": f"?{urlencode(kept)}",
        "older_href": f"?{urlencode({**kept, 'before': shown[-1].pk})}" if len(found) > LINES_PER_PAGE else "",
        "export_query": urlencode(kept),
    }
    return render(request, PAGE, context)


@require_GET
@member_required(Permission.VIEW_AUDIT)
def export_audit(request: MemberRequest) -> HttpResponseBase:
    """Return the lines that the page's filters leave, as a file; the export itself is a line of the log."""
    chosen = _form(request).chosen(request.workspace.time_zone)
    narrowed = ", ".join(
        f"{name} {request.GET[name]}" for name in ("group", "person", "from", "to") if request.GET.get(name)
    )
    record("audit.exported", workspace_id=request.workspace.pk, details={"narrowed to": narrowed[:200]})
    zone = request.workspace.time_zone
    name = f"audit-{request.workspace.slug}-{localtime(clock.now()):%Y-%m-%d}.csv"
    return csv_response(request, _rows(request.workspace.pk, chosen, zone=zone), name=name)


def _rows(workspace_id: int, chosen: AuditFilter, *, zone: str) -> Iterator[list[tuple[object, ...]]]:
    yield [COLUMNS]
    for batch in all_audit_lines(workspace_id, chosen):
        yield [_row(line, zone=zone) for line in batch]


def _row(line: AuditLine, *, zone: str) -> tuple[object, ...]:
    entry = line.entry
    # The file is written after the view: no zone is active any more.
    at = entry.at.astimezone(clock.zone(zone)).isoformat(timespec="seconds")
    return (
        at, entry.action, line.action, line.actor, entry.actor_id or "", line.target, entry.target_kind, entry.target_id,
        line.details, entry.address or "",
    )  # fmt: skip


def _form(request: MemberRequest) -> AuditFilterForm:
    form = AuditFilterForm(request.GET, people=people_in_audit_log(request.workspace.pk))
    if form.has_error("person", "invalid_choice"):
        raise Http404("This workspace's log knows no such person.")
    return form
