"""Paths of the management API, below /api/v1/. A name that is new here is new in ``paths.NAMES`` too."""

import json
from functools import cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.views.decorators.csrf import csrf_exempt

from dashboard.api import audit_log, credits, generations, invitations, keys, members, plain, usage, workspace
from dashboard.api.openapi import openapi
from dashboard.api.plain import api_error
from gateway.errors import ApiError

management_patterns: list[URLPattern] = [
    path("workspace", workspace.WorkspaceView.as_view(), name="workspace"),
    path("keys", keys.KeysView.as_view(), name="keys"),
    path("keys/<slug:prefix>", keys.KeyView.as_view(), name="key"),
    path("keys/<slug:prefix>/rotate", keys.KeyRotationView.as_view(), name="key_rotation"),
    path("members", members.MembersView.as_view(), name="members"),
    path("members/<int:user_id>", members.MemberView.as_view(), name="member"),
    path("invitations", invitations.InvitationsView.as_view(), name="invitations"),
    path("invitations/<int:invitation_id>", invitations.InvitationView.as_view(), name="invitation"),
    path(
        "invitations/<int:invitation_id>/send", invitations.InvitationMessageView.as_view(), name="invitation_message"
    ),
    path("usage", usage.UsageView.as_view(), name="usage"),
    path("generations", generations.GenerationsView.as_view(), name="generations"),
    path("credits", credits.CreditsView.as_view(), name="credits"),
    path("credits/ledger", credits.LedgerView.as_view(), name="ledger"),
    path("audit-log", audit_log.AuditLogView.as_view(), name="audit_log"),
]

#: Seconds for which anybody may keep the description.
MAX_AGE = 300


@cache
def _document(_site_url: str) -> bytes:
    # The address is a part of the key, because it is written into it.
    return json.dumps(openapi(management_patterns)).encode()


@csrf_exempt
def show_openapi(request: HttpRequest) -> HttpResponse:
    """Answer the description of the whole API: public, and cached."""
    if request.method not in {"GET", "HEAD"}:
        return api_error(
            ApiError(405, "method_not_allowed", "This address answers GET.", headers=[(b"allow", b"GET, HEAD")])
        )
    response = HttpResponse(_document(settings.LUMYX_SITE_URL), content_type="application/json")
    response["Cache-Control"] = f"public, max-age={MAX_AGE}"
    response["Access-Control-Allow-Origin"] = "*"
    return response


api_patterns: list[URLPattern] = [
    *management_patterns,
    path("openapi.json", show_openapi, name="openapi"),
    path("<path:rest>", plain.nothing, name="nothing"),
]
