"""Putting an announcement away: a form in the banner, so it needs no script."""

from typing import cast

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from accounts.adapters.account import is_path_of_this_site
from accounts.services.announcements import dismiss
from dashboard.guards import MemberRequest


@require_POST
@login_required
def dismiss_announcement(request: HttpRequest, announcement: int) -> HttpResponseBase:
    """Put it away for this person, and go back to the page. One that is over already is nothing to complain about."""
    dismiss(announcement, user=cast("MemberRequest", request).user)
    back = request.POST.get("next", "")
    if is_path_of_this_site(back):
        return HttpResponseRedirect(back)
    return redirect("dashboard:overview")
