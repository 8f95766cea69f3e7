"""The management keys page: list, create, revoke. A new key's secret is in one answer and nowhere else. Owners and admins only."""

from django.contrib import messages
from django.http import Http404
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from accounts.roles import Permission
from accounts.selectors.management_keys import management_keys_of
from accounts.services.key_options import InvalidApiKeyOptionError
from accounts.services.management_keys import (
    ManagementKeyPermissionError,
    NewManagementKey,
    create_management_key,
    revoke_management_key,
)
from dashboard.forms import RevokeKeyForm
from dashboard.guards import MemberRequest, member_required
from dashboard.management_key_forms import CreateManagementKeyForm

PAGE = "dashboard/management_keys.html"


@require_GET
@member_required(Permission.MANAGE_MEMBERS)
def show_management_keys(request: MemberRequest) -> HttpResponseBase:
    """List the workspace's management keys; with ``?new`` the form to create one is open."""
    form = CreateManagementKeyForm() if "new" in request.GET else None
    return render(request, PAGE, _context(request) | {"form": form})


@require_http_methods(["POST"])
@member_required(Permission.MANAGE_MEMBERS)
def create(request: MemberRequest) -> HttpResponseBase:
    """Create a key and show its secret, this once: it is in this answer only, never in the session or a log."""
    form = CreateManagementKeyForm(request.POST)
    created = _create(request, form) if form.is_valid() else None
    if created is None:
        return render(request, PAGE, _context(request) | {"form": form}, status=422)
    return render(request, PAGE, _context(request) | {"created": created.row, "secret": created.secret})


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_MEMBERS)
def revoke(request: MemberRequest, prefix: str) -> HttpResponseBase:
    """Ask for the key's name, then revoke it. Another workspace's key does not exist here."""
    key = management_keys_of(request.workspace.pk).filter(prefix=prefix).first()
    if key is None:
        raise Http404("This workspace has no such key.")
    form = RevokeKeyForm(request.POST or None, key_name=key.name)
    if request.method == "POST" and form.is_valid():
        revoke_management_key(workspace_id=request.workspace.pk, prefix=prefix)
        messages.success(request, f"“{key.name}” is revoked: requests with it are refused from now on.")
        return redirect("dashboard:management_keys")
    context = _context(request) | {"revoking": key, "revoke_form": form}
    return render(request, PAGE, context, status=422 if form.is_bound else 200)


def _create(request: MemberRequest, form: CreateManagementKeyForm) -> NewManagementKey | None:
    """Return the new key, or None with the reason on the form."""
    try:
        return create_management_key(
            workspace=request.workspace,
            name=form.cleaned_data["name"],
            created_by=request.user,
            is_read_only=form.cleaned_data["access"] == "read",
            expires_at=form.expires_at(),
        )
    except (InvalidApiKeyOptionError, ManagementKeyPermissionError) as error:
        form.add_error(None, str(error))
        return None


def _context(request: MemberRequest) -> dict[str, object]:
    """Return what every state of the page shows: the keys, working ones first."""
    return {"keys": sorted(management_keys_of(request.workspace.pk), key=lambda key: key.state != "active")}
