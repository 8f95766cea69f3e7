"""Every URL of the site. Of /api only the management API is Django's: lumyx/process.py sends the rest to the gateway."""

from allauth.account import views as account
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from accounts.pacing import paced
from billing.views import take_stripe_event
from dashboard.urls import api_patterns, dashboard_patterns, site_patterns
from dashboard.views.errors import without_slash

urlpatterns = [
    path("", include(site_patterns)),
    path("", include(dashboard_patterns)),
    path("api/v1/", include((api_patterns, "api"))),
    path("accounts/login/", RedirectView.as_view(pattern_name="account_login", query_string=True)),
    path("accounts/signup/", RedirectView.as_view(pattern_name="account_signup", query_string=True)),
    path("", include("accounts.urls")),
    path("webhooks/stripe", take_stripe_event, name="stripe-webhook"),
    path("accounts/", include("allauth.urls")),
    # After the include: of two patterns with one name, reverse() takes the last.
    path("login", account.login, name="account_login"),
    path("signup", paced(account.signup), name="account_signup"),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("<path:page>/", without_slash),
]

handler400 = "dashboard.views.errors.bad_request"
handler403 = "dashboard.views.errors.forbidden"
handler404 = "dashboard.views.errors.not_found"
handler500 = "dashboard.views.errors.server_error"
