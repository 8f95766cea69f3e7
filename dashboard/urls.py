"""Paths of the pages: ``site`` is what everybody sees, ``dashboard`` what a member of a workspace sees. No trailing slashes."""

from django.urls import URLPattern, path

from dashboard.api.routes import api_patterns
from dashboard.views import (
    buying,
    credits,
    docs,
    keys,
    management_keys,
    models,
    overview,
    plan,
    requests,
    site,
    unsubscribe,
    usage,
    workspaces,
)

__all__ = ["api_patterns", "dashboard_patterns", "site_patterns"]

site_patterns: tuple[list[URLPattern], str] = (
    [
        path("", site.landing, name="landing"),
        path("models", models.models, name="models"),
        path("pricing", site.pricing, name="pricing"),
        path("docs", docs.index, name="docs"),
        path("docs/<slug:slug>", docs.page, name="doc"),
        path("docs/<slug:slug>.md", docs.source, name="doc_source"),
        path("unsubscribe/<str:token>", unsubscribe.unsubscribe, name="unsubscribe"),
        path("llms.txt", docs.llms, name="llms"),
        path("robots.txt", site.robots, name="robots"),
        path("site.webmanifest", site.webmanifest, name="webmanifest"),
        path("favicon.ico", site.favicon, name="favicon"),
    ],
    "site",
)

dashboard_patterns: tuple[list[URLPattern], str] = (
    [
        path("dashboard", overview.show_overview, name="overview"),
        path("dashboard/switch", workspaces.switch_workspace, name="switch"),
        path("dashboard/usage", usage.show_usage, name="usage"),
        path("dashboard/usage/<slug:request_id>", requests.show_request, name="request"),
        path("dashboard/credits", credits.show_credits, name="credits"),
        path("dashboard/credits/arrival", credits.show_arrival, name="arrival"),
        path("dashboard/credits/buy", buying.buy_credits, name="buy"),
        path("dashboard/credits/top-up", buying.set_top_up, name="top_up"),
        path("dashboard/plan", plan.show_plan, name="plan"),
        path("dashboard/plan/start", plan.show_start, name="plan_start"),
        path("dashboard/plan/subscribe", plan.subscribe, name="plan_subscribe"),
        path("dashboard/plan/change", plan.change_plan, name="plan_change"),
        path("dashboard/plan/cancel", plan.cancel_plan, name="plan_cancel"),
        path("dashboard/plan/resume", plan.resume_plan, name="plan_resume"),
        path("dashboard/plan/portal", plan.open_portal, name="portal"),
        path("dashboard/api-keys", keys.show_keys, name="keys"),
        path("dashboard/api-keys/create", keys.create_key, name="key_create"),
        path("dashboard/api-keys/<slug:prefix>/revoke", keys.revoke_key, name="key_revoke"),
        path("dashboard/management-keys", management_keys.show_management_keys, name="management_keys"),
        path("dashboard/management-keys/create", management_keys.create, name="management_key_create"),
        path("dashboard/management-keys/<slug:prefix>/revoke", management_keys.revoke, name="management_key_revoke"),
    ],
    "dashboard",
)
