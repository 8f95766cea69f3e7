"""Every import contract is kept, and each one catches a violation that is planted on purpose in a copy of the code."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.project.sources import PACKAGES, ROOT, name_of, python_files

#: Contract → a new module, and the one line in it that only this contract forbids.
VIOLATIONS = {
    "Apps depend downwards only": ("accounts/planted.py", "import billing.types"),
    "Inside an app: in at the top, rows at the bottom": (
        "billing/selectors/planted.py",
        "from billing.services import tiers",
    ),
    "Inside the gateway: the request path": ("gateway/models/planted.py", "from gateway.services import usage"),
    "Protocol code knows no framework": ("gateway/protocols/planted.py", "import django"),
    "One door from async code to the ORM": ("gateway/pipeline/planted.py", "import psycopg"),
    "The hot path reaches rows only through the store": (
        "gateway/pipeline/planted.py",
        "from gateway.services import usage",
    ),
    "The dashboard shows; it owns no rows": ("dashboard/planted.py", "from billing.models import Tier"),
    "Ledger rows have one writer": ("billing/services/planted.py", "from billing.models.ledger import Wallet"),
    "One module speaks to Stripe": ("billing/services/planted.py", "import stripe"),
    "Only the upstream client speaks HTTP to providers": ("gateway/store/planted.py", "import httptools"),
}


def _states(folder: Path) -> dict[str, str]:
    """Run lint-imports and return each contract's state, KEPT or BROKEN."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)
    found = re.findall(r"^(.+) (KEPT|BROKEN)$", done.stdout, re.MULTILINE)
    assert found, done.stdout + done.stderr
    return dict(found)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code that may be spoiled."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for path in python_files(*PACKAGES):
        target = folder / name_of(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return folder


def test_every_contract_has_a_planted_violation() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert {contract["name"] for contract in settings["contracts"]} == set(VIOLATIONS)


def test_every_contract_is_kept() -> None:
    assert _states(ROOT) == dict.fromkeys(VIOLATIONS, "KEPT")


@pytest.mark.parametrize("contract", VIOLATIONS)
def test_a_planted_violation_breaks_its_contract_and_no_other(copy: Path, contract: str) -> None:
    place, line = VIOLATIONS[contract]
    planted = copy / place
    planted.write_text(f"{line}\n")
    try:
        assert _states(copy) == {**dict.fromkeys(VIOLATIONS, "KEPT"), contract: "BROKEN"}
    finally:
        planted.unlink()
