"""Every URL of the site. Data-plane paths (/api/...) never reach Django: lumyx/asgi.py sends them to the gateway."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
]
