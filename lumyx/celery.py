"""The Celery application and the whole beat schedule in one table. Every task is idempotent: Redis delivers again after a crash."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lumyx.settings.dev")

app = Celery("lumyx")
app.config_from_object("django.conf:settings", namespace="CELERY")
# For every thread: pages run in other threads than the one that imports this, and would queue to nowhere.
app.set_default()
app.autodiscover_tasks()

#: A run that no worker took within this time (seconds; at least as long as between two runs) is dropped: after an outage of
#: the workers the queue holds a few runs, not thousands. It is long enough for clocks that differ.
EXPIRY_FLOOR = 600

#: task name (its dotted path), seconds between runs, what it does
SCHEDULE = (
    ("gateway.tasks.sweep_holds", 30, "closes holds whose time is over"),
    ("billing.tasks.sweep_grants", 300, "writes off credit that expired, also in wallets that nobody uses"),
    ("billing.tasks.refresh_vip_credits", 3600, "grants the month's VIP credit, also what was missed"),
    ("billing.tasks.apply_stripe_events", 30, "applies Stripe's events that were not applied when they came"),
    ("billing.tasks.top_up_credits", 30, "buys credit where too little is left and its people asked for that"),
    ("billing.tasks.send_notices", 60, "sends the e-mails that are owed, where no worker was asked to or one failed"),
    ("billing.tasks.alert_low_balances", 300, "owes an e-mail where a balance fell below a threshold"),
    ("gateway.tasks.aggregate_usage", 60, "adds new usage events to the hourly and daily tables"),
    (
        "accounts.tasks.forget_idempotent_answers",
        3600,
        "removes what was answered to Idempotency-Keys more than a day ago",
    ),
    ("gateway.tasks.make_partitions", 86_400, "makes the next months' partitions of usage_event"),
    ("gateway.tasks.drop_old_usage", 86_400, "drops months of usage events that are older than the operator keeps"),
    ("gateway.tasks.check_rollups", 86_400, "recounts yesterday and alarms where the roll-ups say something else"),
    ("dashboard.tasks.delete_workspaces", 3600, "deletes workspaces whose time of grace is over"),
    (
        "dashboard.tasks.reconcile",
        86_400,
        "compares the books with themselves, with usage and with Stripe, and keeps a report",
    ),
)
app.conf.beat_schedule = {
    name: {"task": name, "schedule": seconds, "options": {"expires": max(seconds, EXPIRY_FLOOR)}}
    for name, seconds, _ in SCHEDULE
}
