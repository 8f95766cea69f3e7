"""A person's e-mail addresses, and (in development only) the messages that would have been sent."""

from typing import cast

from allauth.account.views import EmailView
from django.contrib import messages
from django.db import IntegrityError, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.csp import CSP
from django.views.decorators.cache import never_cache
from django.views.decorators.csp import csp_override
from django.views.decorators.http import require_safe

from accounts import mailbox
from accounts.models import User
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
