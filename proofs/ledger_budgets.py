"""Steps of the ledger's simulator that are about budgets: they come, change and go, of keys and of those who made them."""

from proofs.ledger_case import Case, run_sql

#: In units (see Case): so little that a batch meets its end, or much.
SMALL, BIG = 60, 900
_KEY = "UPDATE accounts_apikey SET budget_nano = %s, budget_period = %s WHERE id = %s"
_MEMBER = (
    "UPDATE accounts_membership m SET budget_nano = %s, budget_period = %s FROM accounts_apikey k"
    " WHERE k.id = %s AND m.workspace_id = k.workspace_id AND m.user_id = k.created_by_id"
)


def set_budget(case: Case) -> None:
    """Give a key or its maker a budget, another one, or none. The model knows no periods: it is one in total."""
    chance, who = case.chance, case.some_wallet()
    model = case.models[who]
    statement, budget = chance.choice(((_KEY, model.key_budget), (_MEMBER, model.member_budget)))
    amount = None
    if chance.random() < 0.7:
        # Counted from what was used already, so that some of it is left, mostly.
        amount = max(1, budget.spent + budget.held + chance.choice((SMALL, SMALL, BIG, -SMALL)) * case.unit)
    run_sql(statement, amount, "" if amount is None else "total", case.accounts[who].api_key_id)
    budget.amount = amount
    case.counts["budget"] += 1
