"""Development mail: shown in development only, and nothing but messages."""

from pathlib import Path

import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives, mailers
from django.test import Client
from pytest_django import Settings

from accounts import mailbox

FILE_MAILER = "django.core.mail.backends.filebased.EmailBackend"


@pytest.fixture
def folder(settings: Settings, tmp_path: Path) -> Path:
    """Switch on what development has: DEBUG, and mail that is written to a folder."""
    settings.DEBUG = True
    settings.MAILERS = {"default": {"BACKEND": FILE_MAILER, "OPTIONS": {"file_path": str(tmp_path / "mail")}}}
    return tmp_path / "mail"


def send(
    subject: str = "Hello", *, to: str = "dana@example.com", body: str = "Go to http://testserver/x?a=1.\n"
) -> None:
    """Send a message through whatever mailer is configured."""
    EmailMessage(subject, body, "LumyxAI <no-reply@localhost>", [to]).send()


def test_a_sent_message_is_read_back_with_its_links(folder: Path) -> None:
    send("Grüße", body="Hällo,\n\nfollow http://testserver/accounts/confirm-email/MQ:1a/\n")
    message = mailbox.newest_message_to("Dana@Example.com")
    assert message is not None
    assert (message.subject, message.to) == ("Grüße", "dana@example.com")
    assert message.links == ["http://testserver/accounts/confirm-email/MQ:1a/"]
    assert message.pieces[0] == ("Hällo,\n\nfollow ", False)
    assert "".join(text for text, _ in message.pieces) == message.text
    assert mailbox.newest_message_to("else@example.com") is None


def test_the_newest_comes_first(folder: Path) -> None:
    for number, subject in enumerate(("older", "newer"), start=1):
        send(subject)
        latest = max(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        latest.rename(folder / f"2026010{number}-000000-1.log")
    assert [message.subject for message in mailbox.newest_messages()] == ["newer", "older"]


@pytest.mark.django_db
def test_the_pages_list_and_show_messages_and_are_not_stored(folder: Path, client: Client) -> None:
    assert b"There are none yet" in client.get("/dev/mail").content
    send("<b>Hello</b>", body="<script>alert(1)</script> http://testserver/confirm\n")
    name = next(folder.iterdir()).name
    listed = client.get("/dev/mail")
    assert f'href="/dev/mail/{name}"' in listed.text
    shown = client.get(f"/dev/mail/{name}")
    assert '<a class="break" href="http://testserver/confirm">' in shown.text
    assert "<script>alert" not in shown.text
    assert "<b>Hello" not in shown.text + listed.text
    assert "no-store" in shown["Cache-Control"]
    assert client.post(f"/dev/mail/{name}").status_code == 405


@pytest.mark.django_db
@pytest.mark.parametrize(
    "name",
    [
        "secrets.json",
        "..%2Fsecrets.json",
        "%2e%2e/secrets.json",
        "..",
        "20260101-000000-9.log",
        "x.log",
        "%00.log",
        "link",
    ],
)
def test_nothing_but_a_message_opens(folder: Path, client: Client, name: str) -> None:
    folder.mkdir()
    (folder / "secrets.json").write_text("secret")
    (folder.parent / "secrets.json").write_text("secret")
    (folder / "20260101-000000-1.log").mkdir()
    assert client.get(f"/dev/mail/{name}").status_code == 404
    assert client.get("/dev/mail/20260101-000000-1.log").status_code == 404


@pytest.mark.django_db
@pytest.mark.parametrize("debug", [True, False])
def test_outside_development_there_is_no_such_page(
    folder: Path, settings: Settings, client: Client, debug: bool
) -> None:
    send()
    name = next(folder.iterdir()).name
    settings.DEBUG = debug
    if debug:
        settings.MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
    assert client.get("/dev/mail").status_code == 404
    assert client.get(f"/dev/mail/{name}").status_code == 404
    assert mailbox.newest_messages() == []
    assert mailbox.message_named(name) is None


def test_every_message_of_a_file_is_shown(folder: Path) -> None:
    mailers.default.send_messages(
        [EmailMessage(f"number {number}", "text", "a@example.com", [f"{number}@example.com"]) for number in range(3)]
    )
    [path] = folder.iterdir()
    assert [message.subject for message in mailbox.newest_messages()] == ["number 2", "number 1", "number 0"]
    for shown in mailbox.newest_messages():
        assert mailbox.message_named(shown.name) == shown
    assert mailbox.message_named(path.name + ".3") is not None
    for place in ("1", "0", "4", "03"):
        assert mailbox.message_named(f"{path.name}.{place}") is None
    message = mailbox.newest_message_to("1@example.com")
    assert message is not None
    assert message.subject == "number 1"


@pytest.mark.django_db
def test_html_is_shown_as_it_is_and_can_do_nothing(folder: Path, client: Client) -> None:
    message = EmailMultiAlternatives("Two", "plain", "a@example.com", ["b@example.com"])
    message.attach_alternative('<p style="color:red">rich</p>', "text/html")
    message.send()
    name = next(folder.iterdir()).name
    assert f'href="/dev/mail/{name}/html"' in client.get(f"/dev/mail/{name}").text
    shown = client.get(f"/dev/mail/{name}/html")
    assert '<p style="color:red">rich</p>' in shown.text
    policy = shown["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert client.post(f"/dev/mail/{name}/html").status_code == 405
    folder.joinpath(name).unlink()
    assert client.get(f"/dev/mail/{name}/html").status_code == 404
    send()
    plain = next(folder.iterdir()).name
    assert "As a mail program shows it" not in client.get(f"/dev/mail/{plain}").text
    assert client.get(f"/dev/mail/{plain}/html").status_code == 404
