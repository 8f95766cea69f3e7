"""Settings of the installations that flow tests run: the tests' own, with patience cut short where a test would wait for it."""

from lumyx import env
from lumyx.settings.test import *  # noqa: F403  a settings module is the sum of its base and its own lines

#: Seconds; a test drips a body until it is cut.
LUMYX_BODY_DEADLINE = 2.0
#: Seconds; a stream of ten seconds must come to its end also on a busy machine.
LUMYX_GRACE_SECONDS = 30

# A test that buys starts a stand-in for Stripe, and says where.
STRIPE_SECRET_KEY = env.text("STRIPE_SECRET_KEY", "")
STRIPE_API_BASE = env.text("STRIPE_API_BASE", "")
LUMYX_SITE_URL = env.text("LUMYX_SITE_URL", "http://testserver")
