"""Tests: real PostgreSQL and Valkey (from the environment, else started by tests/conftest.py), fast password hashing."""

import os

from lumyx.env import Env
from lumyx.settings.base import *  # noqa: F403  a settings module is the sum of its base and its own lines
from lumyx.settings.base import LOCAL_DIR, STORAGES, database_from_url

env = Env(os.environ)

DEBUG = False
SECRET_KEY = "only-for-tests"
LUMYX_ENCRYPTION_KEY = b"e" * 32
LUMYX_API_KEY_PEPPER = b"p" * 32
ALLOWED_HOSTS = ["*"]
DATABASES = {
    "default": database_from_url(env.url("DATABASE_URL", "postgresql:///lumyx", schemes=("postgresql", "postgres")))
}
REDIS_URL = env.url("REDIS_URL", "redis://127.0.0.1:6379/0", schemes=("redis", "rediss", "unix"))
CELERY_BROKER_URL = "memory://"
CELERY_TASK_ALWAYS_EAGER = True
LUMYX_SITE_URL = "http://testserver"
LUMYX_SANDBOX = "open"
LUMYX_ALLOW_PRIVATE_UPSTREAMS = True

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
EMAIL_FILE_PATH = LOCAL_DIR / "mail"
DEFAULT_FROM_EMAIL = "LumyxAI <no-reply@localhost>"
ACCOUNT_RATE_LIMITS = False
STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_AUTOREFRESH = True

env.finish()
