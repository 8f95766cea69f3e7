"""What guards the books besides the ledger: the trigger, the constraints, the view, and one writer."""

import ast
from pathlib import Path

import pytest
from django.db import DatabaseError, IntegrityError, transaction

from billing.selectors.ledger import balance_of, broken_invariants, verify_wallet
from tests.billing.builders import Account, admit_one, make_account, run_sql, settle_one

ROOT = Path(__file__).resolve().parents[2]
APPS = ("accounts", "billing", "gateway", "dashboard", "lumyx")
LEDGER_ROWS = {"Wallet", "CreditGrant", "Hold", "LedgerEntry", "DailyQuota", "Adjustment"}
LEDGER_TABLES = ("wallet", "creditgrant", "hold", "ledgerentry", "dailyquota", "adjustment")
ORM_WRITES = {
    "save", "create", "update", "delete", "bulk_create", "bulk_update", "get_or_create", "update_or_create",
}  # fmt: skip


@pytest.fixture
def account() -> Account:
    """A workspace with credit, an open hold and a charge behind it."""
    account = make_account()
    account.fund(1000)
    spent, running = account.request(100), account.request(50)
    admit_one(spent)
    settle_one(spent, 60)
    admit_one(running)
    return account


@pytest.mark.django_db
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE billing_ledgerentry SET amount = amount + 1",
        "UPDATE billing_ledgerentry SET ref = 'x' WHERE kind = 'usage'",
        "DELETE FROM billing_ledgerentry",
    ],
)
def test_entries_are_append_only(account: Account, statement: str) -> None:
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        run_sql(statement)


@pytest.mark.django_db
def test_an_owner_who_is_no_superuser_has_no_right_to_change_entries() -> None:
    rows = run_sql(
        "SELECT privilege_type FROM information_schema.table_privileges"
        " WHERE table_name = 'billing_ledgerentry' AND privilege_type IN ('UPDATE', 'DELETE')"
    )
    assert rows == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE billing_wallet SET held = -1", "wallet_held_not_negative"),
        ("UPDATE billing_creditgrant SET remaining = -1 WHERE kind = 'paid'", "grant_remaining_in_range"),
        ("UPDATE billing_creditgrant SET remaining = amount + 1", "grant_remaining_in_range"),
        ("UPDATE billing_creditgrant SET amount = 0, remaining = 0", "grant_amount_positive"),
        ("UPDATE billing_creditgrant SET expires_at = now() WHERE kind = 'paid'", "grant_paid_never_expires"),
        ("UPDATE billing_hold SET amount = -1", "hold_a"),
        ("UPDATE billing_hold SET actual = 101 WHERE state = 'settled'", "hold_actual_when_settled"),
        ("UPDATE billing_hold SET actual = NULL WHERE state = 'settled'", "hold_actual_when_settled"),
        ("UPDATE billing_hold SET state = 'gone'", "hold_actual_when_settled"),
        ("UPDATE billing_hold SET quota_subject = 'w:1'", "hold_quota_whole"),
        ("INSERT INTO billing_dailyquota VALUES ('w:1', now(), -1)", "quota_used_not_negative"),
        (
            "INSERT INTO billing_ledgerentry (wallet_id, grant_id, kind, contra, amount, ref)"
            " SELECT wallet_id, id, 'usage', 'revenue', 5, 'x' FROM billing_creditgrant",
            "entry_sign_of_kind",
        ),
        (
            "INSERT INTO billing_ledgerentry (wallet_id, grant_id, kind, contra, amount, ref)"
            " SELECT wallet_id, id, 'adjust', 'adjust', 0, 'x' FROM billing_creditgrant",
            "entry_amount_not_zero",
        ),
        (
            "INSERT INTO billing_ledgerentry (wallet_id, grant_id, kind, contra, amount, ref)"
            " SELECT wallet_id, grant_id, kind, contra, amount, ref FROM billing_ledgerentry",
            "entry_once",
        ),
        (
            "INSERT INTO billing_creditgrant (wallet_id, kind, priority, amount, remaining, source)"
            " SELECT workspace_id, 'overdraft', 1, 0, 0, 'again' FROM billing_wallet",
            "grant_one_overdraft",
        ),
    ],
)
def test_the_database_refuses_rows_that_cannot_be(account: Account, statement: str, constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        run_sql(statement)


@pytest.mark.django_db
@pytest.mark.breaks_the_books
@pytest.mark.parametrize(
    ("corruption", "invariants"),
    [
        ("UPDATE billing_wallet SET posted = posted + 1", {"posted_is_sum_of_entries", "posted_is_sum_of_remaining"}),
        (
            "UPDATE billing_creditgrant SET remaining = remaining - 1 WHERE kind = 'paid'",
            {"posted_is_sum_of_remaining", "remaining_is_sum_of_entries"},
        ),
        ("UPDATE billing_wallet SET held = held + 1", {"held_is_sum_of_open_holds"}),
        ("UPDATE billing_hold SET state = 'expired' WHERE state = 'open'", {"held_is_sum_of_open_holds"}),
        (
            "SET CONSTRAINTS ALL IMMEDIATE;"
            "ALTER TABLE billing_creditgrant DROP CONSTRAINT grant_remaining_in_range;"
            "UPDATE billing_creditgrant SET amount = 1 WHERE kind = 'paid'",
            {"remaining_in_range"},
        ),
        (
            "DROP TRIGGER grant_is_kept ON billing_creditgrant;"
            "DELETE FROM billing_creditgrant WHERE kind = 'overdraft'",
            {"one_overdraft_grant"},
        ),
        (
            "INSERT INTO billing_ledgerentry (wallet_id, grant_id, kind, contra, amount, ref) "
            "SELECT wallet_id, id, 'debt_repay', 'debt', -3, 'x' FROM billing_creditgrant WHERE kind = 'paid';"
            "UPDATE billing_creditgrant SET remaining = remaining - 3 WHERE kind = 'paid';"
            "UPDATE billing_wallet SET posted = posted - 3",
            {"debt_nets_to_zero"},
        ),
        (
            "UPDATE billing_creditgrant SET effective_at = now() + interval '1 day' WHERE kind = 'paid'",
            {"grant_is_effective"},
        ),
        (
            "INSERT INTO billing_ledgerentry (wallet_id, grant_id, kind, contra, amount, ref) "
            "SELECT wallet_id, id, 'usage', 'revenue', -3, 'x' FROM billing_creditgrant WHERE kind = 'paid';"
            "UPDATE billing_creditgrant SET remaining = remaining - 3 WHERE kind = 'paid';"
            "UPDATE billing_wallet SET posted = posted - 3",
            {"hold_is_its_usage_entries"},
        ),
        ("UPDATE billing_hold SET actual = 61 WHERE state = 'settled'", {"hold_is_its_usage_entries"}),
    ],
)
def test_the_view_shows_each_kind_of_corruption(account: Account, corruption: str, invariants: set[str]) -> None:
    assert broken_invariants() == []
    checked, wrong = verify_wallet(account.id)
    assert (checked, wrong) == (7, [])  # a wallet, two grants, two holds, two entries
    run_sql(corruption)
    broken = broken_invariants()
    assert {row["invariant"] for row in broken} == invariants
    assert all(row["wallet_id"] == account.id and row["actual"] != row["expected"] for row in broken)
    assert verify_wallet(account.id)[1] == broken


@pytest.mark.django_db
@pytest.mark.parametrize("statement", ["DELETE FROM billing_wallet", "DELETE FROM billing_creditgrant"])
def test_wallets_and_grants_are_never_deleted(account: Account, statement: str) -> None:
    with pytest.raises(IntegrityError, match="never deleted"), transaction.atomic():
        run_sql(statement)


@pytest.mark.django_db
@pytest.mark.breaks_the_books
def test_a_hold_and_an_entry_that_belong_to_nothing_are_shown(account: Account) -> None:
    run_sql("UPDATE billing_hold SET wallet_id = 999999 WHERE state = 'settled'")
    assert "hold_has_a_wallet" in {row["invariant"] for row in broken_invariants()}
    run_sql(
        "INSERT INTO billing_ledgerentry (wallet_id, grant_id, kind, contra, amount, ref)"
        " VALUES (%s, 999999, 'adjust', 'adjust', 7, 'x')",
        account.id,
    )
    assert "entry_is_in_wallet_of_its_grant" in {row["invariant"] for row in broken_invariants()}


@pytest.mark.django_db
@pytest.mark.breaks_the_books
def test_an_entry_in_the_wallet_of_another_is_shown(account: Account) -> None:
    other = make_account()
    other.fund(5)
    run_sql(
        "INSERT INTO billing_ledgerentry (wallet_id, grant_id, kind, contra, amount, ref) "
        "SELECT %s, id, 'adjust', 'adjust', 7, 'x' FROM billing_creditgrant WHERE wallet_id = %s LIMIT 1",
        other.id,
        account.id,
    )
    assert "entry_is_in_wallet_of_its_grant" in {row["invariant"] for row in broken_invariants()}
    assert verify_wallet(other.id)[1] != []


@pytest.mark.django_db
def test_hot_rows_leave_room_on_their_page() -> None:
    rows = run_sql("SELECT relname, reloptions FROM pg_class WHERE relname IN ('billing_wallet', 'billing_hold')")
    options = {str(name): values for name, values in rows}
    assert "fillfactor=40" in options["billing_wallet"]  # type: ignore[operator]
    assert "autovacuum_vacuum_scale_factor=0.02" in options["billing_hold"]  # type: ignore[operator]


@pytest.mark.django_db(transaction=True)
def test_updates_of_a_hot_wallet_and_grant_stay_on_their_page() -> None:
    account = make_account()
    account.fund(10_000)
    before = updates_by_table()
    for _ in range(20):
        request = account.request(10)
        admit_one(request)
        settle_one(request, 5)
    after = updates_by_table()
    for table, updates in (("billing_creditgrant", 20), ("billing_wallet", 40)):
        done, hot = (now - then for now, then in zip(after[table], before[table], strict=True))
        assert (done, hot) == (updates, updates)
    assert balance_of(account.id).posted == 9_900


def updates_by_table() -> dict[object, tuple[int, int]]:
    """Return how many updates there were, and how many of them were HOT."""
    run_sql("SELECT pg_stat_force_next_flush()")
    rows = run_sql("SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables")
    return {name: (int(str(done)), int(str(hot))) for name, done, hot in rows}


def modules() -> list[Path]:
    return [path for app in APPS for path in (ROOT / app).rglob("*.py") if "migrations" not in path.parts]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_only_the_ledger_has_statements_that_write_its_tables() -> None:
    verbs = ("insert into", "update", "delete from", "truncate", "merge into", "copy")
    writers = {
        name_of(path)
        for path in modules()
        for text in [" ".join(path.read_text().lower().replace('"', " ").split())]
        if any(f"{verb} billing_{table}" in text for verb in verbs for table in LEDGER_TABLES)
    }
    assert writers == {"billing/services/ledger_sql.py"}


def imports_of(tree: ast.Module) -> set[str]:
    """Return what a module imports, as dotted names."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def test_only_the_ledger_may_run_its_statements() -> None:
    trees = {name_of(path): imports_of(ast.parse(path.read_text())) for path in modules()}
    assert {name for name, imports in trees.items() if any(".ledger_sql" in n for n in imports)} == {
        "billing/services/ledger_budgets.py",
        "billing/services/ledger_rows.py",
    }
    assert {name for name, imports in trees.items() if any(".ledger_budgets" in n for n in imports)} == {
        "billing/services/ledger.py"
    }
    assert {name for name, imports in trees.items() if any(".ledger_rows" in n for n in imports)} == {
        "billing/services/ledger.py",
        "billing/services/ledger_credit.py",
    }


def test_who_sees_the_rows_of_the_ledger_only_reads_them() -> None:
    """No module that imports a ledger model calls a method that writes; the admin, which registers them, is read-only."""
    for path in modules():
        tree = ast.parse(path.read_text())
        named = {name.rpartition(".")[2] for name in imports_of(tree) if name.startswith("billing.models")}
        if not named & LEDGER_ROWS or path.parent.name == "models":
            continue
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute) or node.attr not in ORM_WRITES:
                continue
            root: ast.expr = node
            while isinstance(root, ast.Attribute | ast.Call):
                root = root.func if isinstance(root, ast.Call) else root.value
            is_row = isinstance(root, ast.Name) and root.id in LEDGER_ROWS
            assert not is_row, f"{name_of(path)}:{node.lineno} writes {ast.unparse(node)}"
