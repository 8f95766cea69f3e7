"""Plays stories of payments, one after another, and prints what they were and what differed. Run by proofs.payments."""

import argparse
import json
import random
import secrets
import sys
from collections import Counter

import django

django.setup()

from django.conf import settings  # noqa: E402  settings and models need Django set up
from django.db import transaction  # noqa: E402

from accounts.services.users import create_user  # noqa: E402
from accounts.services.workspaces import create_workspace  # noqa: E402
from billing.payments import sync  # noqa: E402
from billing.services.tiers import ensure_tiers  # noqa: E402
from lumyx.celery import app  # noqa: E402
from proofs.payment_stories import differences, draw_story, play  # noqa: E402
from rig.stripe.server import FakeStripe  # noqa: E402


def main() -> None:
    """Play stories by their numbers: from --first, every --step th, until --stories."""
    parser = argparse.ArgumentParser()
    for name in ("seed", "first", "step", "stories"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args()
    app.set_default()
    ensure_tiers()
    done: Counter[str] = Counter()
    wrong: list[str] = []
    with FakeStripe() as fake:
        settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE = fake.key, fake.url
        for number in range(options.first, options.stories, options.step):
            chance = random.Random(f"{options.seed}:{number}")
            with transaction.atomic():
                fake.reset()
                sync.sync()
                owner = create_user(f"person{number}@example.com", password=secrets.token_hex(), verified=True)
                workspace = create_workspace(f"Workspace {number}", owner=owner)
                played = play(fake, workspace, draw_story(chance))
                wrong += [f"story {number}: {text}" for text in differences(fake, workspace, chance)]
                done += played.done
                done["events"] += len(fake.events())
                done["renewals"] += sum(
                    invoice["billing_reason"] == "subscription_cycle" for invoice in fake.state.all("invoice")
                )
                transaction.set_rollback(True)
            done["stories"] += 1
    # The answer to the process that started this one.
    sys.stdout.write(json.dumps({"done": done, "wrong": wrong}) + "\n")


if __name__ == "__main__":
    main()
