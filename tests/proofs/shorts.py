"""How the short versions of proofs are run and judged."""

from collections.abc import Callable, Mapping

from proofs.report import Report
from proofs.site import check_books
from rig.installation import Installation


def assert_proved(installation: Installation, name: str, proof: Callable[..., None], least: Mapping[str, int]) -> None:
    """Run the short version of a proof: nothing may be wrong, and each figure in ``least`` at least as large."""
    report = Report(name, seed=7)
    proof(installation, report, short=True)
    assert report.wrong == []
    for figure, bound in least.items():
        found = report.figures[figure]
        assert isinstance(found, int)
        assert found >= bound, figure


def assert_books_are_right(installation: Installation) -> None:
    """Read both audits."""
    report = Report("books", 7)
    check_books(installation, report)
    assert report.wrong == []
