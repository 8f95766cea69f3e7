"""Tests: real PostgreSQL and Valkey (from the environment, else started by tests/conftest.py), fast password hashing."""

import os
import tempfile
from pathlib import Path

from lumyx.devservices import database_url, redis_url, socket_folder
from lumyx.env import Env
from lumyx.settings.base import *  # noqa: F403  a settings module is the sum of its base and its own lines
from lumyx.settings.base import STORAGES, database_from_url

# Where tests/conftest.py starts what is not given. The first process of a run names the folder; its children inherit it.
TEST_SERVICES = Path(
    os.environ.setdefault("LUMYX_TEST_SERVICES", f"{tempfile.gettempdir()}/lumyx-test-{os.getpid()}")
).resolve()
_sockets = socket_folder(TEST_SERVICES)

_given = {name: value for name, value in os.environ.items() if value}
env = Env({"DATABASE_URL": database_url(_sockets), "REDIS_URL": redis_url(_sockets), **_given})

DEBUG = False
SECRET_KEY = "only-for-tests"
LUMYX_ENCRYPTION_KEY = b"e" * 32
LUMYX_API_KEY_PEPPER = b"p" * 32
ALLOWED_HOSTS = ["*"]
DATABASES = {"default": database_from_url(env.url("DATABASE_URL", schemes=("postgresql", "postgres")))}
REDIS_URL = env.url("REDIS_URL", schemes=("redis", "rediss", "unix"))
CELERY_BROKER_URL = "memory://"
CELERY_TASK_ALWAYS_EAGER = True
LUMYX_SITE_URL = "http://testserver"
LUMYX_SANDBOX = "open"
# Nothing is signed with it outside of the tests.
STRIPE_WEBHOOK_SECRETS = ["whsec_only_for_tests"]

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
DEFAULT_FROM_EMAIL = "LumyxAI <no-reply@localhost>"
ACCOUNT_RATE_LIMITS = False
LUMYX_ANSWER_STEP = 0
_memory = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
CACHES = {"default": _memory, "strict": {**_memory, "LOCATION": "strict"}}
MFA_RATE_LIMITS = False
ADMIN_REQUIRES_SECOND_FACTOR = env.flag("ADMIN_REQUIRES_SECOND_FACTOR", default=False)
STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_AUTOREFRESH = True

env.finish()
