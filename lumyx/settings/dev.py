"""Development: everything that is not set comes from ``make run``'s own files under ``.local/``."""

import base64
import contextlib
import json
import os
from pathlib import Path

from lumyx.env import Env
from lumyx.settings.base import *  # noqa: F403  a settings module is the sum of its base and its own lines
from lumyx.settings.base import LOCAL_DIR, STORAGES, cache_at, database_from_url
from lumyx.settings.signin import providers_from


def _read(path: Path) -> dict[str, str]:
    return json.loads(path.read_text()) if path.exists() else {}


def _dev_secrets() -> dict[str, str]:
    """Return this checkout's own secrets, made at the first start and kept, so that encrypted rows stay readable."""
    path = LOCAL_DIR / "secrets.json"
    if not path.exists():
        LOCAL_DIR.mkdir(parents=True, exist_ok=True)
        names = ("SECRET_KEY", "LUMYX_ENCRYPTION_KEY", "LUMYX_API_KEY_PEPPER")
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps({name: base64.b64encode(os.urandom(32)).decode() for name in names}))
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)  # the first process wins; the others read what it wrote
        fresh.unlink()
    return _read(path)


_run = _read(LOCAL_DIR / "run.json")
#: What `make run` says of itself, so that manage.py works beside it.
_FROM_RUN = ("DATABASE_URL", "REDIS_URL", "STRIPE_SECRET_KEY", "STRIPE_API_BASE", "STRIPE_WEBHOOK_SECRET")
env = Env({**_dev_secrets(), **{k: str(_run[k]) for k in _FROM_RUN if k in _run}, **os.environ})

DEBUG = env.flag("DEBUG", default=True)
SECRET_KEY = env.text("SECRET_KEY")
LUMYX_ENCRYPTION_KEY = env.key("LUMYX_ENCRYPTION_KEY")
LUMYX_API_KEY_PEPPER = env.key("LUMYX_API_KEY_PEPPER")
ALLOWED_HOSTS = ["*"]
# With nothing set and no `make run` beside, the socket folder below does not exist: the error names it.
DATABASES = {
    "default": database_from_url(
        env.url(
            "DATABASE_URL",
            f"postgresql:///lumyx?host={LOCAL_DIR}/postgres-is-not-running--start-make-run-or-set-DATABASE_URL&user=lumyx",
            schemes=("postgresql", "postgres"),
        )
    )
}
REDIS_URL = env.url("REDIS_URL", "redis://127.0.0.1:6379/0", schemes=("redis", "rediss", "unix"))
CACHES = cache_at(REDIS_URL)
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://") if REDIS_URL.startswith("unix:") else REDIS_URL
LUMYX_SITE_URL = env.text("LUMYX_SITE_URL", f"http://127.0.0.1:{_run.get('port', env.integer('PORT', 8000))}").rstrip(
    "/"
)
LUMYX_SANDBOX = "open"

STRIPE_SECRET_KEY = env.text("STRIPE_SECRET_KEY", "")
STRIPE_WEBHOOK_SECRETS = env.items("STRIPE_WEBHOOK_SECRET", [])
STRIPE_AUTOMATIC_TAX = env.flag("STRIPE_AUTOMATIC_TAX", default=False)
STRIPE_API_BASE = env.text("STRIPE_API_BASE", "")

SOCIALACCOUNT_PROVIDERS = providers_from(env, allow_http=True)
ADMIN_REQUIRES_SECOND_FACTOR = env.flag("ADMIN_REQUIRES_SECOND_FACTOR", default=False)

MAILERS = {
    "default": {
        "BACKEND": "django.core.mail.backends.filebased.EmailBackend",
        "OPTIONS": {"file_path": str(LOCAL_DIR / "mail")},
    }
}
DEFAULT_FROM_EMAIL = "LumyxAI <no-reply@localhost>"

STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_AUTOREFRESH = True
SILENCED_SYSTEM_CHECKS: list[str] = []

env.finish()
