"""Only the ledger service writes rows of the books: no other module has a statement or an ORM call that could."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project.sources import PACKAGES, is_migration, name_of, python_files

MODELS = {"Wallet", "CreditGrant", "Hold", "LedgerEntry", "DailyQuota", "Adjustment", "BudgetUse"}
TABLES = {"wallet", "creditgrant", "hold", "ledgerentry", "dailyquota", "adjustment", "budgetuse"}
#: The writer, its statements and the module that runs them.
WRITERS = {
    f"billing/services/{name}.py" for name in ("ledger", "ledger_budgets", "ledger_credit", "ledger_rows", "ledger_sql")
}
#: Who may name the models at all, to read or show them; held to reading by the checks below.
READERS = ("billing/selectors/", "billing/admin", "billing/books_admin", "billing/models/")

WRITE = re.compile(
    rf"\b(insert\s+into|update(\s+only)?|delete\s+from|merge\s+into|truncate(\s+table)?|copy)\s+"
    rf"(\w+\.)?\"?billing_({'|'.join(TABLES)})\b",
    re.IGNORECASE,
)
WRITING_CALLS = {
    "create", "acreate", "bulk_create", "abulk_create", "bulk_update", "abulk_update", "get_or_create", "aget_or_create",
    "update_or_create", "aupdate_or_create", "save", "asave", "delete", "adelete", "update", "aupdate",
}  # fmt: skip


def _imported_models(tree: ast.Module) -> set[str]:
    """Return the names of ledger models that a module imports, or looks up in the app registry."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("billing.models"):
            found |= {alias.name for alias in node.names} & MODELS
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get_model":
            names = {arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)}
            found |= {name for name in MODELS if name in names or f"billing.{name}" in names}
    return found


def _writing_statements(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and WRITE.search(node.value):
            yield f"line {node.lineno}: a statement that writes the books"


def _writing_calls(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITING_CALLS:
            yield f"line {node.lineno}: .{node.func.attr}() in a module that reads the books"


def faults_of(name: str, tree: ast.Module) -> list[str]:
    """Return what a module does to the books that it may not do."""
    if name in WRITERS:
        return []
    faults = list(_writing_statements(tree))
    models = _imported_models(tree)
    if models and not name.startswith(READERS):
        faults.append(f"names {', '.join(sorted(models))}")
    if models:
        faults += _writing_calls(tree)
    return faults


def _checked() -> list[Path]:
    return [path for path in python_files(*PACKAGES) if not is_migration(path)]


def test_no_module_but_the_ledger_writes_the_books() -> None:
    found = {name_of(path): faults_of(name_of(path), ast.parse(path.read_text())) for path in _checked()}
    assert {name: faults for name, faults in found.items() if faults} == {}


def test_the_ledger_itself_does_write_them() -> None:
    statements = [path for path in _checked() if name_of(path) in WRITERS]
    assert any(list(_writing_statements(ast.parse(path.read_text()))) for path in statements)


@pytest.mark.parametrize(
    "source",
    [
        "SQL = 'INSERT INTO billing_ledgerentry (amount) VALUES (1)'",
        "SQL = 'update billing_wallet set posted = 0'",
        "SQL = f'DELETE FROM public.billing_hold WHERE id = {1}'",
        "from billing.models import Wallet",
        "from billing.models.ledger import Hold as H",
        "apps.get_model('billing', 'LedgerEntry')",
        "apps.get_model('billing.DailyQuota')",
    ],
)
def test_a_writer_in_another_module_is_found(source: str) -> None:
    assert faults_of("gateway/services/planted.py", ast.parse(source))


@pytest.mark.parametrize(
    "call", ["Wallet.objects.create(posted=1)", "Wallet.objects.filter(pk=1).update(posted=1)", "row.save()"]
)
def test_a_reader_that_writes_is_found(call: str) -> None:
    source = f"from billing.models import Wallet\n{call}"
    assert faults_of("billing/selectors/planted.py", ast.parse(source))
    assert not faults_of(
        "billing/selectors/planted.py", ast.parse("from billing.models import Wallet\nWallet.objects.get(pk=1)")
    )
