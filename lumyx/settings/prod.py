"""Production: everything comes from the environment, and what is missing or bad stops the start (docs/operations.md lists it)."""

from typing import Any

from lumyx.env import Env
from lumyx.settings.base import *  # noqa: F403  a settings module is the sum of its base and its own lines
from lumyx.settings.base import cache_at, database_from_url, dollar_amounts, mailer_from_url
from lumyx.settings.signin import providers_from

env = Env()

DEBUG = False
SECRET_KEY = env.text("SECRET_KEY")
if len(SECRET_KEY) < 32:
    env.problems.append("SECRET_KEY must have at least 32 characters (make one: openssl rand -base64 48).")
LUMYX_ENCRYPTION_KEY = env.key("LUMYX_ENCRYPTION_KEY")
LUMYX_API_KEY_PEPPER = env.key("LUMYX_API_KEY_PEPPER")
ALLOWED_HOSTS = env.items("ALLOWED_HOSTS")
DATABASES = {"default": database_from_url(env.url("DATABASE_URL", schemes=("postgresql", "postgres")))}
REDIS_URL = env.url("REDIS_URL", schemes=("redis", "rediss", "unix"))
CACHES = cache_at(REDIS_URL)
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://") if REDIS_URL.startswith("unix:") else REDIS_URL
LUMYX_SITE_URL = env.url("LUMYX_SITE_URL", schemes=("https", "http")).rstrip("/")
LUMYX_DRAIN_SECONDS = env.integer("DRAIN_SECONDS", 10, high=600)
LUMYX_GRACE_SECONDS = env.integer("GRACE_SECONDS", 120, low=1, high=3600)
LUMYX_HEAD_DEADLINE = LUMYX_BODY_DEADLINE = LUMYX_READ_DEADLINE = float(
    env.integer("CLIENT_PATIENCE_SECONDS", 20, low=1, high=600)
)
# Below twenty seconds a short outage would find holds closed, and their credit spent by other requests.
LUMYX_HOLD_LEASE = env.integer("HOLD_LEASE_SECONDS", 45, low=20, high=3600)
LUMYX_USAGE_RETENTION_MONTHS = env.integer("LUMYX_USAGE_RETENTION_MONTHS", 0, high=1200)
LUMYX_MANAGEMENT_PER_MINUTE = env.integer("MANAGEMENT_REQUESTS_PER_MINUTE", 120, low=1, high=100_000)
ALLAUTH_TRUSTED_PROXY_COUNT = env.integer("TRUSTED_PROXY_COUNT", 0, high=10)

STRIPE_SECRET_KEY = env.text("STRIPE_SECRET_KEY", "")
STRIPE_WEBHOOK_SECRETS = env.items("STRIPE_WEBHOOK_SECRET", [])
STRIPE_AUTOMATIC_TAX = env.flag("STRIPE_AUTOMATIC_TAX", default=False)

LUMYX_EMAIL_VERIFICATION = env.flag("LUMYX_EMAIL_VERIFICATION", default=True)
ACCOUNT_EMAIL_VERIFICATION = "mandatory" if LUMYX_EMAIL_VERIFICATION else "none"
_mail_url = env.text("EMAIL_URL", "")
# Without mail what would be sent is dropped; `manage.py check --deploy` says so, as an error (mail.E001).
MAILERS: dict[str, Any] = {"default": {"BACKEND": "django.core.mail.backends.dummy.EmailBackend"}}
if _mail_url:
    try:
        MAILERS = {"default": mailer_from_url(_mail_url)}
    except ValueError as _error:
        env.problems.append(f"EMAIL_URL cannot be used: {_error}.")
elif LUMYX_EMAIL_VERIFICATION:
    env.problems.append(
        "EMAIL_URL is not set (smtp://user:password@host:587?tls=1). "
        "To run without mail, switch verification off: LUMYX_EMAIL_VERIFICATION=0."
    )
LUMYX_WORKSPACES_PER_USER = env.integer("WORKSPACES_PER_USER", 10, low=1, high=10_000)
# A code that nobody is sent signs nobody in.
ACCOUNT_LOGIN_BY_CODE_ENABLED = bool(_mail_url)
SOCIALACCOUNT_PROVIDERS = providers_from(env)
ADMIN_REQUIRES_SECOND_FACTOR = env.flag("ADMIN_REQUIRES_SECOND_FACTOR", default=True)
LUMYX_LOW_BALANCE_USD = dollar_amounts(env, "LOW_BALANCE_USD", ["5", "1"])
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", "LumyxAI <no-reply@localhost>")

_https = LUMYX_SITE_URL.startswith("https://")
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ALLAUTH_TRUSTED_PROXY_COUNT else None
# Only a trusted proxy's word says which requests came by HTTPS; without one the redirect would go round in circles.
SECURE_SSL_REDIRECT = _https and ALLAUTH_TRUSTED_PROXY_COUNT > 0
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
# The address that a provider sends people back to; without a trusted proxy's word the request does not know its scheme.
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if _https else "http"
SECURE_HSTS_SECONDS = 31_536_000 if _https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _https
CSRF_TRUSTED_ORIGINS = [LUMYX_SITE_URL] if LUMYX_SITE_URL else []

env.finish()
