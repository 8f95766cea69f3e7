"""What every kind of installation shares. Values that differ, and all secrets, are set in dev, test and prod."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.utils.csp import CSP

from lumyx.env import Env
from lumyx.lib.money import MoneyError, usd_to_nano
from lumyx.settings.signin import *  # noqa: F403  how people sign in, a part of the base

BASE_DIR = Path(__file__).resolve().parent.parent.parent
#: What a development installation keeps; another folder makes a second installation from the same checkout.
LOCAL_DIR = Path(os.environ.get("LUMYX_LOCAL_DIR") or BASE_DIR / ".local").resolve()

INSTALLED_APPS = [
    "accounts",
    "billing",
    "gateway",
    "dashboard",
    "accounts.admin_config.OperatorAdminConfig",
    "django.contrib.auth",
    "django.contrib.postgres",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.google",
    "allauth.socialaccount.providers.github",
    "allauth.socialaccount.providers.openid_connect",
    "django_htmx",
    "lucide",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "dashboard.middleware.private_pages",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.middleware.acting_person",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "accounts.middleware.seen_sessions",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "lumyx.urls"
ASGI_APPLICATION = "lumyx.asgi.application"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "dashboard.context.site",
            ],
        },
    },
]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES: dict[str, Any] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "servestatic.storage.CompressedManifestStaticFilesStorage"},
}

# Nothing inline, no nonce, nothing from elsewhere (hardening rules).
SECURE_CSP = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF],
    "style-src": [CSP.SELF],
    "img-src": [CSP.SELF, "data:"],
    "font-src": [CSP.SELF],
    "connect-src": [CSP.SELF],
    "form-action": [CSP.SELF],
    "base-uri": [CSP.NONE],
    "frame-ancestors": [CSP.NONE],
    "manifest-src": [CSP.SELF],
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "dashboard.views.errors.csrf_failure"
SESSION_ENGINE = "django.contrib.sessions.backends.db"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024

CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_RESULT_BACKEND = None
CELERY_TASK_IGNORE_RESULT = True
CELERY_TIMEZONE = "UTC"
# A run that was lost with its worker is delivered again; tasks are idempotent, so twice is harmless and never is not.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# Seconds. A statement may take 600 (gateway.selectors.patience), a task a few of them; the broker delivers a run again only after
# the longest that a task may take. Limits hold in a worker of processes; one of threads knows none.
CELERY_TASK_SOFT_TIME_LIMIT = 1500
CELERY_TASK_TIME_LIMIT = 1800
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 5, "socket_connect_timeout": 2, "visibility_timeout": 3600}
# The broker may be away for as long as it likes: workers and beat try on.
CELERY_BROKER_CONNECTION_RETRY = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_WORKER_HIJACK_ROOT_LOGGER = False

# The management API (dashboard.api): its views bring their own authentication, parser and renderer.
REST_FRAMEWORK = {"DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema", "UNAUTHENTICATED_USER": None}
SPECTACULAR_SETTINGS = {
    "TITLE": "LumyxAI API",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "dashboard.api.openapi.complete",
    ],
    # Where fields of one name choose from different values, each choice has a name of its own.
    "ENUM_NAME_OVERRIDES": {
        "Role": "dashboard.api.members.ROLES",
        "GivenRole": "dashboard.api.members.GIVEN_ROLES",
        "KeyState": "dashboard.api.key_fields.STATES",
        "InvitationState": "dashboard.api.invitations.STATES",
        "BudgetPeriod": "dashboard.api.key_fields.PERIODS",
    },
}
#: Requests a minute that one management key may send.
LUMYX_MANAGEMENT_PER_MINUTE = 120

# Payments. Without a key they are off; without a secret the webhook refuses. Several secrets: one is being replaced.
STRIPE_SECRET_KEY = ""
STRIPE_WEBHOOK_SECRETS: list[str] = []
# Another address than Stripe's own, for a stand-in; never in production.
STRIPE_API_BASE = ""
#: Let Stripe compute and add tax; the account has to be set up for that first.
STRIPE_AUTOMATIC_TAX = False

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "lumyx.lib.redaction.RedactingFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    # Two lines for every call otherwise.
    "loggers": {"stripe": {"level": "WARNING"}},
}

#: How many workspaces one person may own; those that are handed to them come on top.
LUMYX_WORKSPACES_PER_USER = 10
#: Dollars. People are told when their workspace's balance falls below one of them; an empty list tells nobody.
LUMYX_LOW_BALANCE_USD = ["5", "1"]

# Web process (lumyx.serve). After SIGTERM /readyz says 503 for the first time, then requests under way have the second to end.
LUMYX_DRAIN_SECONDS: float = 0
LUMYX_GRACE_SECONDS = 3

# Gateway. Times in seconds, sizes in bytes.
LUMYX_SITE_BODY_LIMIT = 2 * 1024 * 1024
LUMYX_API_BODY_LIMIT = 32 * 1024 * 1024
#: Seconds in which a client must have sent the head of a request, and its body; and within which it must take what it was sent.
LUMYX_HEAD_DEADLINE = 20.0
LUMYX_BODY_DEADLINE = 20.0
LUMYX_READ_DEADLINE = 20.0
LUMYX_FIRST_BYTE_KEEPALIVE = 15.0
LUMYX_ADMISSION_TIMEOUT = 4.0
LUMYX_ADMISSION_QUEUE = 5_000
LUMYX_SETTLEMENT_WAIT = 60.0
LUMYX_SETTLEMENT_QUEUE = 20_000
#: A hold lives this long without being extended by its process; the sweeper closes it at its next run (30 s).
LUMYX_HOLD_LEASE: float = 45.0
#: Months of usage events that are kept beside the present one; 0: all, for ever. Roll-ups and the ledger always stay.
LUMYX_USAGE_RETENTION_MONTHS = 0
#: "open": sandbox models are listed and every key may call them; "test_keys": unlisted, test keys only.
LUMYX_SANDBOX = "test_keys"


def cache_at(url: str) -> dict[str, Any]:
    """Return CACHES on a Redis; its failures are slow for half a second at most, and felt only where "strict" is asked."""
    redis = {"LOCATION": url, "KEY_PREFIX": "cache", "OPTIONS": {"socket_timeout": 0.5, "socket_connect_timeout": 0.5}}
    return {
        "default": {"BACKEND": "lumyx.lib.cache.FallbackCache", **redis},
        # Raises while Redis is away: what must not be guessed (accounts.services.tries) is then refused.
        "strict": {"BACKEND": "django.core.cache.backends.redis.RedisCache", **redis},
    }


def database_from_url(url: str) -> dict[str, Any]:
    """Return Django's settings for postgresql://user:password@host:port/name?option=value (host may be a socket folder)."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    host = options.pop("host", "") or unquote(parts.hostname or "")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": options.pop("port", "") or str(parts.port or ""),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "connect_timeout": 3,
            # A statement that hangs must not hang the request; a forgotten transaction must not bloat a hot row.
            # Only the ledger prepares statements; its arrays vary in length, which custom plans would be made anew for.
            "options": "-c statement_timeout=15000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=10000"
            " -c plan_cache_mode=force_generic_plan",
            **options,
        },
    }


def dollar_amounts(env: Env, name: str, default: list[str]) -> list[str]:
    """Return a variable's amounts in dollars, with commas between them; "none" is the empty list. Bad ones are env's problems."""
    amounts = env.items(name, default)
    if amounts == ["none"]:
        return []
    for amount in amounts:
        try:
            is_amount = usd_to_nano(amount) > 0
        except MoneyError:
            is_amount = False
        if not is_amount:
            env.problems.append(
                f"{name} has {amount!r} in it; it must be dollars above zero, with commas between them, or none."
            )
    return amounts


def mailer_from_url(url: str) -> dict[str, Any]:
    """Return an entry of MAILERS for smtp://user:password@host:587?tls=1 (STARTTLS) or smtps://user:password@host:465 (TLS).

    Without ``tls`` STARTTLS is used when there is a password. Raises ValueError, whose message does not hold the password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError("its host or port cannot be read") from error
    if parts.scheme not in {"smtp", "smtps"}:
        raise ValueError("it must begin with smtp:// or smtps://")
    if not parts.hostname:
        raise ValueError("it names no host")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    starttls = query.pop("tls", "1" if parts.password and parts.scheme == "smtp" else "0")
    if query or starttls not in {"0", "1"}:
        raise ValueError("the only option after the question mark is tls=1 or tls=0")
    if starttls == "1" and parts.scheme == "smtps":
        raise ValueError("smtps:// is TLS from the start; leave tls=1 out")
    return {
        "BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "OPTIONS": {
            "host": parts.hostname,
            "port": port or (465 if parts.scheme == "smtps" else 587 if starttls == "1" else 25),
            "username": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "use_tls": starttls == "1",
            "use_ssl": parts.scheme == "smtps",
            "timeout": 10,
        },
    }
