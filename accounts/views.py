"""What allauth's pages do not do: addresses kept in step, counted codes, apps and sessions; and development mail."""

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlsplit

from allauth.account.internal.flows.login import record_authentication
from allauth.account.views import ConfirmLoginCodeView, EmailView
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.views import ActivateTOTPView
from allauth.usersessions.adapter import get_adapter as get_sessions_adapter
from allauth.usersessions.views import ListUserSessionsView
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import IntegrityError, transaction
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.utils.csp import CSP
from django.views.decorators.cache import never_cache
from django.views.decorators.csp import csp_override
from django.views.decorators.http import require_POST, require_safe

from accounts import mailbox
from accounts.models import User
from accounts.selectors.signin import session_of
from accounts.services.users import sync_email_verification


class AddressesView(EmailView):  # type: ignore[misc]  # allauth has no types
    """allauth's page of e-mail addresses; it can make another address the user's, which may not be proved."""

    def post(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        """Do what was asked, then bring the user's verification in step with the addresses that are left."""
        try:
            with transaction.atomic():
                response = cast("HttpResponse", super().post(request, *args, **kwargs))
        except IntegrityError:
            # The address became another user's after it was added here.
            messages.error(request, "This address is another user's by now. Remove it, and add one of yours.")
            return redirect("account_email")
        sync_email_verification(User.objects.get(pk=cast("User", request.user).pk))
        return response


class CodeView(ConfirmLoginCodeView):  # type: ignore[misc]
    """allauth's page for a code that came by mail; tries count for the address, from wherever they come."""

    def get_form_kwargs(self) -> dict[str, Any]:
        """Tell the form whose code it is."""
        kwargs: dict[str, Any] = super().get_form_kwargs()
        if self._action != "resend":
            kwargs["subject"] = str(self._process.state.get("email", ""))
        return kwargs


class AppSetUpView(ActivateTOTPView):  # type: ignore[misc]
    """allauth's page that sets an authenticator app up; the code that it ends with counts as given in this session."""

    def form_valid(self, form: Form) -> HttpResponse:
        """Set the app up, and keep that its code was right: nobody is asked for the next one straight away."""
        response = cast("HttpResponse", super().form_valid(form))
        app = Authenticator.objects.get(user_id=self.request.user.pk, type=Authenticator.Type.TOTP)
        record_authentication(self.request, self.request.user, "mfa", id=app.pk, type=app.type)
        return response


class SessionsView(ListUserSessionsView):  # type: ignore[misc]
    """allauth's way to sign out everywhere else; what there is to see is on the account page."""

    success_url = reverse_lazy("dashboard:account")

    def get(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        """Lead to the list."""
        return redirect("dashboard:account")


@require_safe
@login_required
def lead_to_account(request: HttpRequest) -> HttpResponse:
    """Lead to the account page, which shows what allauth's own would."""
    return redirect("dashboard:account")


def leaving(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Let a form of ours lead to another site by a page in between.

    Browsers hold redirects after a form to the policy's form-action, which is this site alone.
    """

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        target = urlsplit(response.get("Location", ""))
        if response.status_code != HTTPStatus.FOUND or not target.netloc:
            return response
        return render(request, "socialaccount/leaving.html", {"target": target.geturl(), "host": target.hostname})

    return answer


@never_cache
@require_POST
@login_required
def end_session(request: HttpRequest, session_id: int) -> HttpResponse:
    """End one of one's own sessions. 404 for another person's."""
    found = session_of(cast("User", request.user), session_id=session_id)
    if found is None:
        raise Http404
    get_sessions_adapter().end_sessions([found])
    messages.success(request, "The session was ended. Whoever used it has to sign in again.")
    return redirect("dashboard:account")


@never_cache
@require_safe
def development_mail(request: HttpRequest) -> HttpResponse:
    """List the messages that were written instead of sent. 404 outside development."""
    if not mailbox.is_open():
        raise Http404
    return render(request, "account/development_mail.html", {"sent_messages": mailbox.newest_messages()})


@never_cache
@require_safe
def development_message(request: HttpRequest, name: str) -> HttpResponse:
    """Show one message. 404 outside development, and for whatever is not a message."""
    message = mailbox.message_named(name)
    if message is None:
        raise Http404
    return render(request, "account/development_message.html", {"sent_message": message})


# Mail carries its style inline, which no page of ours may: this one can do nothing but be looked at.
@csp_override({"default-src": [CSP.NONE], "style-src": [CSP.UNSAFE_INLINE], "frame-ancestors": [CSP.NONE]})
@never_cache
@require_safe
def development_html(request: HttpRequest, name: str) -> HttpResponse:
    """Show a message as a mail program does. 404 outside development, and for a message without HTML."""
    message = mailbox.message_named(name)
    if message is None or not message.html:
        raise Http404
    return HttpResponse(message.html)
