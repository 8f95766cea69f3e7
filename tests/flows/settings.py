"""Settings of the installations that flow tests run: the tests' own, with patience cut short where a test would wait for it."""

import os
from typing import Any

from lumyx.settings.base import mailer_from_url
from lumyx.settings.test import *  # noqa: F403  a settings module is the sum of its base and its own lines

#: Seconds; a test drips a body until it is cut.
LUMYX_BODY_DEADLINE = 2.0
#: Seconds; a stream of ten seconds must come to its end also on a busy machine.
LUMYX_GRACE_SECONDS = 30

# A test that buys starts a stand-in for Stripe, and says where.
STRIPE_SECRET_KEY = os.environ.get("STRIPE_SECRET_KEY", "")
STRIPE_API_BASE = os.environ.get("STRIPE_API_BASE", "")
# A test in which people sign up starts a mail server, and says where.
if os.environ.get("EMAIL_URL"):
    MAILERS = {"default": mailer_from_url(os.environ["EMAIL_URL"])}
LUMYX_SITE_URL = os.environ.get("LUMYX_SITE_URL", "http://testserver")

if _mail := os.environ.get("TEST_MAIL_FOLDER"):
    _options: Any = {"file_path": _mail}
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.filebased.EmailBackend", "OPTIONS": _options}}

if os.environ.get("TEST_TASKS") == "queued":
    # For a worker of the installation's own; elsewhere what is queued runs at once.
    CELERY_TASK_ALWAYS_EAGER = False
    CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://")  # noqa: F405
