"""Production: everything comes from the environment, and what is missing or bad stops the start (docs/operations.md lists it)."""

from lumyx.env import Env
from lumyx.settings.base import *  # noqa: F403  a settings module is the sum of its base and its own lines
from lumyx.settings.base import database_from_url

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
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://") if REDIS_URL.startswith("unix:") else REDIS_URL
LUMYX_SITE_URL = env.url("LUMYX_SITE_URL", schemes=("https", "http")).rstrip("/")
LUMYX_ALLOW_PRIVATE_UPSTREAMS = False
ALLAUTH_TRUSTED_PROXY_COUNT = env.integer("TRUSTED_PROXY_COUNT", 0, high=10)

LUMYX_EMAIL_VERIFICATION = env.flag("LUMYX_EMAIL_VERIFICATION", default=True)
_smtp = env.text("EMAIL_URL", "")
if LUMYX_EMAIL_VERIFICATION and not _smtp:
    env.problems.append(
        "EMAIL_URL is not set (smtp://user:password@host:587?tls=1). "
        "To run without mail, switch verification off: LUMYX_EMAIL_VERIFICATION=0."
    )
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", "LumyxAI <no-reply@localhost>")

_https = LUMYX_SITE_URL.startswith("https://")
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ALLAUTH_TRUSTED_PROXY_COUNT else None
SECURE_SSL_REDIRECT = False
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
SECURE_HSTS_SECONDS = 31_536_000 if _https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _https
CSRF_TRUSTED_ORIGINS = [LUMYX_SITE_URL] if LUMYX_SITE_URL else []

env.finish()
