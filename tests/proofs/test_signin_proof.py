"""The proof of signing in: its short version."""

from proofs.report import Report
from proofs.signin import guess_and_ask, signin_site


def test_the_short_version_is_proved() -> None:
    report = Report("signin", seed=7)
    with signin_site() as (installation, mail):
        guess_and_ask(installation, mail, report, short=True)
    assert report.wrong == []
    # How many were looked at is bounded by the proof itself; of guesses at once, one may count where two were looked at.
    assert {
        "passwords_from_one",
        "passwords_from_many",
        "accounts_from_one",
        "app_from_one",
        "app_from_many",
        "sign_up",
    } <= set(report.figures)
