"""The public pages: links that lead somewhere, the policy, the catalog's filters, prices, errors and redirects."""

import re
from pathlib import Path

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.staticfiles import finders
from django.http import Http404
from django.test import AsyncClient, Client, RequestFactory
from pytest_django.fixtures import Settings

from billing.selectors.tiers import public_tiers
from dashboard.views.errors import bad_request, csrf_failure, forbidden, server_error, without_slash
from gateway.models import CatalogModel
from lumyx.lib.money import NANO_PER_USD
from tests.dashboard.pages import PUBLIC_PAGES, Page, fill_catalog, text_of
from tests.factories import PASSWORD, make_cast, make_user

pytestmark = pytest.mark.django_db

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; manifest-src 'self'"
)
#: All but e-mails: mail programs read styles inline, and nowhere else.
TEMPLATES = sorted(
    path for path in (Path(settings.BASE_DIR) / "templates").rglob("*.html") if "emails" not in path.parts
)

HOSTILE = """
[[models]]
id = "hostile/one"
display_name = '<img src=x onerror=alert(1)>'
description = '"><script>alert(2)</script>'
context_window = 1000
max_output_tokens = 100
tags = ["uncensored"]
[models.price]
input = "0.1"
output = "0.2"
[[models.routes]]
upstream = "sandbox"
model = "echo"
"""

REAL = """
[[upstreams]]
name = "real"
provider = "openai"
protocol = "openai_chat"
base_url = "https://api.example.com/v1"
credential = "not-a-real-one"

[[models]]
id = "real-model"
display_name = "A real model"
description = "Answers through a real provider."
context_window = 200000
max_output_tokens = 1000
tags = ["tools"]
[models.price]
input = "3"
output = "12.25"
cache_read = "0.3"
[[models.routes]]
upstream = "real"
model = "gpt"
"""


def shown(client: Client, address: str) -> list[str]:
    """Return the ids of the models that a page of the catalog shows, in order."""
    return re.findall(r'data-copy="([^"]+)"', client.get(address).content.decode())


_answers: dict[str, tuple[int, list[str]]] = {}


def answer_of(client: Client, address: str) -> tuple[int, list[str]]:
    """Return the status and the ids of an address; asked once, because all pages share most of their links."""
    if address not in _answers:
        answer = client.get(address)
        _answers[address] = (answer.status_code, Page(answer.content.decode()).ids)
    return _answers[address]


@pytest.mark.parametrize("address", PUBLIC_PAGES)
def test_every_address_on_a_public_page_leads_somewhere(client: Client, address: str) -> None:
    fill_catalog()
    page = Page(client.get(address).content.decode())
    for attribute, target in page.addresses:
        if target.startswith("#"):
            assert target[1:] in page.ids, f"{address}: nothing has the id {target}"
            continue
        path, _, fragment = target.partition("#")
        if path.startswith("/static/"):
            assert finders.find(path.removeprefix("/static/")), f"{address}: no static file {path}"
            continue
        status, ids = answer_of(client, path or address)
        wanted = {200, 301, 302, 405} if attribute in {"action", "hx-post"} else {200, 301, 302}
        # The page for a missing page answers 404 under its own address only.
        assert status in wanted or path == address, f"{address}: {attribute} {target}"
        assert not fragment or fragment in ids, f"{address}: {target} names no section"


@pytest.mark.parametrize("address", PUBLIC_PAGES)
def test_a_public_page_has_the_strict_policy_and_nothing_inline(client: Client, address: str) -> None:
    fill_catalog()
    answer = client.get(address)
    assert answer["Content-Security-Policy"] == POLICY
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert Page(answer.content.decode()).inline == []


@pytest.mark.parametrize("address", PUBLIC_PAGES)
def test_a_public_page_has_one_title_one_main_heading_and_unique_ids(client: Client, address: str) -> None:
    fill_catalog()
    page = Page(client.get(address).content.decode())
    assert page.title.endswith(("LumyxAI", "LumyxAI docs"))
    assert page.headings.count("h1") == 1
    assert page.headings[0] == "h1"
    assert "main" in page.ids
    assert [one for one in page.ids if page.ids.count(one) > 1 and one != "lumyx-mark"] == []


def test_titles_of_public_pages_differ(client: Client) -> None:
    titles = [
        Page(client.get(address).content.decode()).title for address in ("/", "/models", "/pricing", "/docs", "/login")
    ]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(settings.BASE_DIR / "templates")))
def test_a_template_has_nothing_inline(template: Path) -> None:
    source = re.sub(r"{%.*?%}|{{.*?}}|{#.*?#}", "", template.read_text(), flags=re.DOTALL)
    assert Page(source).inline == []


def test_public_pages_set_no_cookie_for_visitors(client: Client) -> None:
    for address in ("/", "/models", "/pricing", "/docs", "/docs/errors", "/llms.txt"):
        assert client.get(address).cookies == {}, address


def test_the_chosen_theme_comes_with_the_page(client: Client) -> None:
    plain = '<html lang="en">'
    assert plain in client.get("/").content.decode()
    client.cookies["theme"] = "dark"
    assert '<html lang="en" data-theme="dark">' in client.get("/").content.decode()
    client.cookies["theme"] = '"><script>'
    assert plain in client.get("/").content.decode()


def test_a_signed_in_visitor_is_led_to_the_dashboard_and_not_to_sign_in(client: Client) -> None:
    client.force_login(make_cast().alice)
    html = client.get("/").content.decode()
    assert 'href="/dashboard"' in html
    assert 'href="/login"' not in html
    assert 'href="/signup"' not in html


def test_the_landing_page_calls_this_installation_and_names_what_is_free(client: Client, settings: Settings) -> None:
    fill_catalog()
    settings.LUMYX_SITE_URL = "https://gateway.example.org"
    html = client.get("/").content.decode()
    assert html.count("https://gateway.example.org/api/v1") >= 4
    assert "lumyx-ai.site" not in html
    assert "25 free requests a day" in html
    assert "Lumyx Plus v1" in html
    for language in ("python", "node", "curl"):
        assert f'data-lang="{language}"' in html


def test_the_landing_page_calls_a_model_that_is_there(client: Client, settings: Settings) -> None:
    fill_catalog(REAL)
    settings.LUMYX_SANDBOX = "test_keys"
    text = text_of(client.get("/").content.decode())
    assert text.count('"real-model"') == 3
    assert "lumyx-plus_v1" not in text


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("q=TOOL-CAPABLE", ["tool-capable-model"]),
        ("q=vision+documentation", ["vision-model-id"]),
        ("free=1", ["sandbox/echo"]),
        ("tag=vision&tag=tools", ["lumyx-plus_v1"]),
        ("tag=vision&q=sandbox/", ["sandbox/vision"]),
        ("q=no+model+has+this", []),
    ],
)
def test_the_catalog_is_narrowed_by_the_address(client: Client, query: str, ids: list[str]) -> None:
    fill_catalog()
    assert shown(client, f"/models?{query}") == ids


def test_the_catalog_sorts_by_price_by_context_and_by_name(client: Client) -> None:
    fill_catalog(REAL)
    assert shown(client, "/models?sort=price")[0] == "sandbox/echo"
    assert shown(client, "/models?sort=price")[-1] == "real-model"
    assert shown(client, "/models?sort=context")[0] == "real-model"
    assert shown(client, "/models")[0] == "real-model"  # "A real model"
    assert shown(client, "/models?sort=nonsense") == shown(client, "/models")


def test_the_catalog_counts_and_offers_a_way_out_when_nothing_matches(client: Client) -> None:
    fill_catalog()
    total = len(shown(client, "/models"))
    assert f"{total} models" in client.get("/models").content.decode()
    assert f"1 of {total} models" in client.get("/models?free=1").content.decode()
    nothing = client.get("/models?q=zzzz").content.decode()
    assert "No model matches" in nothing
    assert "Clear filters" in nothing
    assert 'value="zzzz"' in nothing


def test_an_empty_catalog_says_so(client: Client) -> None:
    assert "The catalog is empty" in client.get("/models").content.decode()
    assert "The catalog is empty" in client.get("/pricing").content.decode()


def test_htmx_gets_only_the_list_and_caches_keep_the_two_apart(client: Client) -> None:
    fill_catalog()
    part = client.get("/models?free=1", headers={"HX-Request": "true"})
    assert "<html" not in part.content.decode()
    assert "sandbox/echo" in part.content.decode()
    assert "HX-Request" in part["Vary"]
    assert "HX-Request" in client.get("/models")["Vary"]
    restored = client.get("/models", headers={"HX-Request": "true", "HX-History-Restore-Request": "true"})
    assert "<html" in restored.content.decode()


@pytest.mark.parametrize("query", ["q=%00", "tag=%00", "q=" + "x" * 5000, "sort[]=1", "q=%FF%FE", "free=yes&tag="])
def test_a_strange_filter_still_shows_a_page(client: Client, query: str) -> None:
    fill_catalog()
    assert client.get(f"/models?{query}").status_code == 200


def test_hostile_text_in_the_catalog_is_only_text(client: Client) -> None:
    fill_catalog(HOSTILE)
    # The catalog file refuses such a tag; a row from elsewhere must be harmless all the same.
    CatalogModel.objects.filter(public_id="hostile/one").update(tags=["uncensored", 'x"onmouseover=alert(3) y="'])
    for address in ("/", "/models", "/models?q=hostile", "/pricing"):
        html = client.get(address).content.decode()
        assert Page(html).inline == [], address
        assert "<script>alert" not in html
        assert "<img src=x" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in client.get("/models").content.decode()


def test_an_uncensored_model_is_marked(client: Client) -> None:
    fill_catalog(HOSTILE)
    html = client.get("/models?q=hostile").content.decode()
    assert re.search(r'badge warn"[^>]*title="You accept a policy', html)


def test_sandbox_models_are_unlisted_where_the_sandbox_is_for_test_keys(client: Client, settings: Settings) -> None:
    fill_catalog(REAL)
    settings.LUMYX_SANDBOX = "test_keys"
    assert shown(client, "/models") == ["real-model"]
    assert "sandbox/" not in client.get("/pricing").content.decode()
    assert "sandbox/" not in client.get("/").content.decode()


def test_prices_of_models_are_exact(client: Client) -> None:
    fill_catalog(REAL)
    html = client.get("/pricing").content.decode()
    row = re.search(r"A real model.*?</tr>", html, re.DOTALL)
    assert row is not None
    assert re.findall(r"\$[\d.]+", row[0]) == ["$3.00", "$12.25", "$0.30"]


def test_pricing_shows_every_public_tier_as_it_is_billed(client: Client) -> None:
    html = client.get("/pricing").content.decode()
    for tier in public_tiers():
        assert f"<h2>{tier.name}</h2>" in html
        assert f">${tier.monthly_price // NANO_PER_USD}</b>" in html
        assert f">{tier.daily_requests:,}</b> requests a day" in html
    assert "insufficient_credits" in html
    assert "Paid credits never expire" in html
    assert "refresh each month" in html


def test_pricing_leads_to_subscribing_where_payments_are_on(client: Client, settings: Settings) -> None:
    html = client.get("/pricing").content.decode()
    assert "Subscribe" not in html
    assert "The operator of this installation adds them" in html
    assert "or $150 a year" in html
    assert html.count("2 months free") == 4
    settings.STRIPE_SECRET_KEY = "sk_test_x"
    html = client.get("/pricing").content.decode()
    assert html.count('href="/signup?next=/dashboard/plan"') == 4
    assert "from $5 to $1,000 of credit" in html
    client.force_login(make_user())
    html = client.get("/pricing").content.decode()
    assert html.count('href="/dashboard/plan"') == 4
    assert ">Start free<" not in html


@pytest.mark.parametrize("address", ["/models/", "/docs/", "/docs/errors/", "/login/", "/dashboard/", "/pricing/"])
def test_a_slash_too_many_leads_to_the_page(client: Client, address: str) -> None:
    answer = client.get(f"{address}?next=/models")
    assert answer.status_code == 301
    assert answer["Location"] == f"{address.rstrip('/')}?next=/models"


@pytest.mark.parametrize("address", ["/nope/", "/models//", "/docs/x/y/", "/%2F%2Fevil.example/"])
def test_a_slash_too_many_never_leads_off_the_site(client: Client, address: str) -> None:
    assert client.get(address).status_code == 404


def test_a_path_that_looks_like_a_host_is_not_redirected_to(rf: RequestFactory) -> None:
    for page in ("/evil.example", "\\evil.example", "https://evil.example"):
        with pytest.raises(Http404):
            without_slash(rf.get("/"), page=page)


def test_a_post_is_not_redirected(client: Client) -> None:
    assert client.post("/models/").status_code == 404


def test_allauths_own_addresses_of_sign_in_lead_to_ours(client: Client) -> None:
    assert client.get("/accounts/login/?next=/dashboard/usage")["Location"] == "/login?next=/dashboard/usage"
    assert client.get("/accounts/signup/")["Location"] == "/signup"


def test_a_missing_page_offers_search_and_ways_on(client: Client) -> None:
    answer = client.get("/no-such-page")
    html = answer.content.decode()
    assert answer.status_code == 404
    assert 'name="q"' in html
    assert 'href="/docs"' in html


def test_error_pages_say_what_to_do_and_hide_what_went_wrong(rf: RequestFactory) -> None:
    request = rf.get("/dashboard/credits?x=1")
    request.user = make_user()
    denied = forbidden(request, Exception("Only the owner may see this. Ask them for the role billing."))
    assert denied.status_code == 403
    assert "Ask them for the role billing." in denied.content.decode()
    bad = bad_request(request, Exception("secret detail"))
    assert bad.status_code == 400
    assert "secret detail" not in bad.content.decode()
    expired = csrf_failure(request, reason="CSRF cookie not set.")
    assert expired.status_code == 403
    assert "no longer valid" in expired.content.decode()
    assert 'href="/dashboard/credits?x=1"' in expired.content.decode()


def test_a_form_without_its_token_gets_the_page_that_explains() -> None:
    client = Client(enforce_csrf_checks=True)
    answer = client.post("/login", {"login": "a@example.com", "password": PASSWORD})
    assert answer.status_code == 403
    assert "no longer valid" in answer.content.decode()


def test_the_500_page_needs_neither_templates_nor_database(rf: RequestFactory) -> None:
    answer = server_error(rf.get("/"))
    html = answer.content.decode()
    assert answer.status_code == 500
    assert "{%" not in html
    assert Page(html).inline == []
    for attribute, target in Page(html).addresses:
        assert attribute != "src"
        assert target in {"", "/"} or finders.find(target.removeprefix("/static/"))


def test_sign_in_works_with_password_managers_and_keeps_where_one_was_going(client: Client) -> None:
    page = Page(client.get("/login?next=/dashboard/usage").content.decode())
    assert page.labelled["login"]["type"] == "email"
    assert page.labelled["login"]["autocomplete"] == "email"
    assert page.labelled["password"]["autocomplete"] == "current-password"
    assert page.labelled["next"]["value"] == "/dashboard/usage"
    cast = make_cast()
    answer = client.post("/login", {"login": cast.alice.email, "password": PASSWORD, "next": "/dashboard/usage"})
    assert answer["Location"] == "/dashboard/usage"


def test_sign_in_never_leads_off_the_site(client: Client) -> None:
    cast = make_cast()
    form = {"login": cast.alice.email, "password": PASSWORD, "next": "https://evil.example/"}
    assert client.post("/login", form)["Location"] == "/dashboard"


def test_a_wrong_password_is_told_and_the_address_stays(client: Client) -> None:
    make_user("dana@example.com")
    answer = client.post("/login", {"login": "dana@example.com", "password": "wrong"})
    html = answer.content.decode()
    assert 'role="alert"' in html
    assert 'value="dana@example.com"' in html
    assert "wrong" not in re.findall(r'value="([^"]*)"', html)


def test_sign_up_tells_errors_at_their_fields(client: Client) -> None:
    page = Page(client.get("/signup").content.decode())
    assert page.labelled["email"]["autocomplete"] == "email"
    assert page.labelled["password1"]["autocomplete"] == "new-password"
    answer = client.post("/signup", {"email": "not an address", "password1": "short"})
    html = answer.content.decode()
    page = Page(html)
    for name in ("email", "password1"):
        assert page.labelled[name]["aria-invalid"] == "true"
        assert f"id_{name}_error" in page.labelled[name]["aria-describedby"].split()
        assert f"id_{name}_error" in page.ids
    assert "short" not in re.findall(r'value="([^"]*)"', html)


def test_signing_out_takes_a_post(client: Client) -> None:
    client.force_login(make_cast().alice)
    asked = client.get("/accounts/logout/")
    assert "Sign out?" in asked.content.decode()
    assert "_auth_user_id" in client.session
    client.post("/accounts/logout/")
    assert "_auth_user_id" not in client.session


def test_pages_of_the_signed_in_person_have_the_policy_too(client: Client) -> None:
    client.force_login(make_cast().alice)
    for address in ("/accounts/email/", "/accounts/password/change/", "/accounts/logout/"):
        answer = client.get(address)
        assert answer.status_code == 200, address
        assert answer["Content-Security-Policy"] == POLICY
        page = Page(answer.content.decode())
        assert page.inline == [], address
        assert page.headings[0] == "h1"


@pytest.mark.parametrize("address", ["/", "/models", "/accounts/email/", "/accounts/password/change/", "/dashboard"])
def test_no_cache_keeps_what_a_signed_in_person_saw(client: Client, address: str) -> None:
    client.force_login(make_cast().alice)
    assert "no-store" in client.get(address)["Cache-Control"]


def test_no_cache_keeps_it_under_asgi_either(async_client: AsyncClient) -> None:
    user = make_user()

    # Under async_to_sync, what Django runs in a thread runs in this one, and so inside the test's transaction.
    @async_to_sync
    async def visit() -> str:
        await async_client.aforce_login(user)
        return (await async_client.get("/docs"))["Cache-Control"]

    assert "no-store" in visit()


def test_caches_may_keep_what_everybody_may_see(client: Client) -> None:
    assert not client.get("/docs").has_header("Cache-Control")
    assert client.get("/robots.txt")["Cache-Control"] == "public, max-age=86400"


def test_crawlers_are_kept_out_of_private_pages(client: Client) -> None:
    text = client.get("/robots.txt")
    assert text["Content-Type"].startswith("text/plain")
    assert "Disallow: /dashboard" in text.content.decode()
    assert "Disallow: /admin/" in text.content.decode()


def test_the_manifest_and_the_icon_are_there(client: Client) -> None:
    manifest = client.get("/site.webmanifest").json()
    assert manifest["name"] == "LumyxAI"
    icon = manifest["icons"][0]["src"]
    assert finders.find(icon.removeprefix("/static/"))
    assert client.get("/favicon.ico")["Location"] == icon
