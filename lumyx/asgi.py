"""The ASGI entry that servers load: ``lumyx.asgi:application``."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lumyx.settings.prod")
django.setup()

import lumyx.celery  # noqa: E402, F401  what queues tasks finds the application by this
from lumyx.process import application, start_draining  # noqa: E402  needs the app registry, which setup() fills

__all__ = ["application", "start_draining"]
