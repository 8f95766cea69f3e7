"""A person's own pages: how they sign in, where they are signed in, what happened to that. About no workspace."""

from http import HTTPStatus

from django.contrib import messages
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from accounts.selectors.signin import security_log_of, sessions_of, sign_in_of
from accounts.services.users import InvalidNameError, rename_user
from dashboard.guards import MemberRequest, person_required

NEWEST, PAGE_OF_LOG = 8, 50


@require_safe
@person_required
def show_account(request: MemberRequest) -> HttpResponseBase:
    """Show everything about one's account."""
    return _page(request)


@require_POST
@person_required
def rename(request: MemberRequest) -> HttpResponseBase:
    """Change what one is called."""
    typed = request.POST.get("name", "")
    try:
        rename_user(request.user, name=typed)
    except InvalidNameError as error:
        return _page(request, {"name_problem": str(error), "typed_name": typed}, HTTPStatus.UNPROCESSABLE_ENTITY)
    messages.success(request, "Your name was saved.")
    return redirect("dashboard:account")


@require_safe
@person_required
def show_log(request: MemberRequest) -> HttpResponseBase:
    """Show the security log, a page at a time; ``before`` is the id of the line that the page follows."""
    asked = request.GET.get("before", "")
    before = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 19 else None
    lines = security_log_of(request.user, limit=PAGE_OF_LOG + 1, before=before)
    context = {"lines": lines[:PAGE_OF_LOG], "more": lines[PAGE_OF_LOG - 1].id if len(lines) > PAGE_OF_LOG else None}
    return render(request, "dashboard/account_log.html", context | {"is_first": before is None})


def _page(
    request: MemberRequest, extra: dict[str, object] | None = None, status: HTTPStatus = HTTPStatus.OK
) -> HttpResponseBase:
    user = request.user
    context = {
        "sign_in": sign_in_of(user),
        "sessions": sessions_of(user, current=request.session.session_key),
        "lines": security_log_of(user, limit=NEWEST),
        **(extra or {}),
    }
    return render(request, "dashboard/account.html", context, status=status)
