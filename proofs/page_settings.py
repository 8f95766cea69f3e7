"""Production's settings for proofs that look at pages: their static files are named as they are, so none have to be collected."""

from lumyx.settings.prod import *  # noqa: F403  a settings module is the sum of its base and its own lines
from lumyx.settings.prod import STORAGES

STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
