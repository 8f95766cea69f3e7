"""The proof of signing in: its short version."""

from proofs.report import Report
from proofs.signin import guess_and_ask, signin_site


def test_the_short_version_is_proved() -> None:
    report = Report("signin", seed=7)
    with signin_site() as (installation, mail):
        guess_and_ask(installation, mail, report, short=True)
    assert report.wrong == []
    figures = report.figures
    assert (figures["passwords_from_one"], figures["passwords_from_many"], figures["accounts_from_one"]) == (5, 5, 10)
    assert (figures["app_from_one"], figures["app_from_many"]) == (5, 5)
