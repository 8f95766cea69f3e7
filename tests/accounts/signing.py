"""What tests of signing in do over HTTP: sign in, prove who it is, read codes and links from messages, compute an app's code."""

import re
import time

from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.core import mail
from django.test import Client

from accounts.models import AuditEntry, User
from tests.factories import PASSWORD


def signed_in(user: User) -> Client:
    """Return a browser in which somebody signed in by the form."""
    client = Client()
    answer = client.post("/login", {"login": user.email, "password": PASSWORD})
    assert (answer.status_code, answer["Location"]) == (302, "/dashboard"), answer.text
    return client


def prove(client: Client, password: str = PASSWORD) -> None:
    """Prove with the password who is signed in."""
    assert client.post("/accounts/reauthenticate/", {"password": password}).status_code == 302


def proved(user: User) -> Client:
    """Return a browser of somebody who signed in and proved it just now."""
    client = signed_in(user)
    prove(client)
    return client


def code_in_last_mail() -> str:
    """Return the sign-in code that was sent last."""
    found = re.search(r"^([B-Z]{4}-[B-Z]{4})$", str(mail.outbox[-1].body), re.MULTILINE)
    assert found, mail.outbox[-1].body
    return found[1]


def link_in_last_mail(path: str = "/accounts/confirm-email/") -> str:
    """Return the path of the link that was sent last."""
    found = re.search(rf"http://testserver({path}\S+)", str(mail.outbox[-1].body))
    assert found, mail.outbox[-1].body
    return found[1]


def code_of_app(secret: str, *, steps: int = 0) -> str:
    """Return what an authenticator app shows for a secret now, or so many half minutes from now."""
    return str(format_hotp_value(hotp_value(secret, int(time.time()) // 30 + steps)))


def secret_of(client: Client) -> str:
    """Return the secret that the set-up page of the app shows."""
    found = re.search(r'translate="no">([A-Z2-7]+)<', client.get("/accounts/2fa/totp/activate/").text)
    assert found
    return found[1]


def with_app(client: Client) -> str:
    """Set an authenticator app up in a browser that has proved who it is; return its secret."""
    secret = secret_of(client)
    # The code before is right too, and leaves the present one unused.
    answer = client.post("/accounts/2fa/totp/activate/", {"code": code_of_app(secret, steps=-1)})
    assert answer.status_code == 302, answer.text
    return secret


def acts_of(user: User) -> list[str]:
    """Return what the audit log has about a person's account, in order."""
    rows = AuditEntry.objects.filter(actor_id=user.pk, workspace_id__isnull=True).order_by("pk")
    return [row.action for row in rows]


def is_signed_in(client: Client) -> bool:
    """Tell whether the browser is signed in."""
    return client.get("/dashboard/account").status_code == 200
