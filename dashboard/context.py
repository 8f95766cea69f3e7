"""What every page knows."""

from django.conf import settings
from django.http import HttpRequest


def site(request: HttpRequest) -> dict[str, object]:
    """Return the theme that the visitor chose (a cookie, so that no script must run first) and the site's address."""
    theme = request.COOKIES.get("theme", "")
    return {"theme": theme if theme in {"light", "dark"} else "", "site_url": settings.LUMYX_SITE_URL}
