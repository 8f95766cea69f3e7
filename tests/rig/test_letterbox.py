"""The mail server of proofs: what is sent to it can be read."""

import smtplib
from email.message import EmailMessage

from rig.letterbox import letterbox


def test_a_message_is_kept_for_each_of_its_recipients_as_it_was_sent() -> None:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "Häuser", "a@example.com", "B@example.com, c@example.com"
    message.set_content("first line\n.a line that begins with a dot\nüber\n")
    with letterbox() as mail:
        with smtplib.SMTP("127.0.0.1", mail.port) as client:
            client.send_message(message)
            client.send_message(message, to_addrs=["c@example.com"])
        assert mail.texts_to("b@example.com") == ["first line\n.a line that begins with a dot\nüber\n"]
        assert len(mail.texts_to("c@example.com")) == 2
        assert mail.texts_to("nobody@example.com") == []
        assert mail.url == f"smtp://127.0.0.1:{mail.port}?tls=0"
