"""The authorization table: what every visitor gets at every address of the site. An address without a row fails.

What programs get from the data plane and the management API (/api/…) is in test_api_authorization_table.
"""

from http.cookies import SimpleCookie

import pytest
from django.db import transaction
from django.http import HttpResponse

from tests.project.site_visitors import KEYS, VISITORS, World, admin_model_of, all_routes, family_of, make_world

#: What a cell of the table means, as (statuses, how the place it leads to begins).
ANSWERS: dict[str, tuple[set[int], tuple[str, ...]]] = {
    "ok": ({200}, ()),
    "form": ({200, 422}, ()),  # the empty form that was sent comes back with its errors
    "part": ({200, 204}, ()),  # of a page; 204 while there is nothing new
    "login": ({302}, ("/login?next=/", "/login?next=%2F")),
    "gate": ({302}, ("/admin/login/?next=/admin/",)),
    "moved": ({302}, ("/", "/login", "/signup", "/dashboard", "/static/img/", "/accounts/", "/admin/")),
    "renamed": ({301}, ("/accounts/3rdparty/",)),
    "failed": ({401}, ()),  # the page of a sign-in elsewhere that came to nothing
    "denied": ({403}, ()),
    "hidden": ({404}, ()),
    "method": ({405}, ()),
    "unsigned": ({400}, ()),  # a delivery that Stripe did not sign
}

#: Rows that many addresses share. One word stands for every visitor; else there is one for each, in the order of VISITORS:
#: anonymous, other, viewer, billing, developer, admin, owner, staff, suspended.
READ_ONLY = ("ok", "method")
MEMBERS = ("login ok ok ok ok ok ok denied ok", "method")
SEES_MONEY = ("login ok denied ok denied ok ok denied ok", "method")
#: Nobody waits for anything, so there is nothing to tell.
SEES_MONEY_PARTS = ("login part denied part denied part part denied part", "method")
MANAGES_MONEY = "login form denied form denied denied form denied form"
#: A step to confirm, of a plan that nobody has.
HIDDEN_STEP = "login hidden denied hidden denied denied hidden denied hidden"
#: A form about a key of the workspace, and a button that needs nothing more.
KEY_STEP = ("login hidden denied denied ok ok ok denied ok", "login hidden denied denied form form form denied form")
KEY_ACT = ("method", "login hidden denied denied moved moved moved denied moved")
#: ``other`` may do it to their own people, and this one is none of them.
MANAGES_PEOPLE = "login hidden denied denied denied moved moved denied moved"
OWNS = ("login ok denied denied denied denied ok denied ok", "login form denied denied denied denied form denied form")
SIGNED_IN = ("login ok ok ok ok ok ok ok ok", "login form form form form form form form form")
#: Anonymous visitors are sent away before the method is looked at.
READS_SIGNED_IN = (SIGNED_IN[0], "login method method method method method method method method")
#: Nobody has one of these yet; what would prove who they are is asked for elsewhere.
HAVE_NONE = "login hidden hidden hidden hidden hidden hidden hidden hidden"
ELSEWHERE = "login moved moved moved moved moved moved moved moved"
OWN_PAGE = ("login ok ok ok ok ok ok ok ok", "method")
#: Asks for a proof of who it is first, or leads back to where that is asked.
PROVED = (
    "login moved moved moved moved moved moved moved moved",
    "login moved moved moved moved moved moved moved moved",
)
PROVED_KEPT = (
    "login moved moved moved moved moved moved denied moved",
    "login moved moved moved moved moved moved denied moved",
)
#: To the site's own page.
ADMIN_MOVED = "gate gate gate gate gate gate gate moved gate"
ADMIN_PAGE = ("gate gate gate gate gate gate gate ok gate", "gate gate gate gate gate gate gate ok gate")
ADMIN_DENIED = ("gate gate gate gate gate gate gate denied gate", "gate gate gate gate gate gate gate denied gate")
ADMIN_HIDDEN = ("gate gate gate gate gate gate gate hidden gate", "gate gate gate gate gate gate gate hidden gate")

#: Route → what GET and an empty POST get.
TABLE: dict[str, tuple[str, str]] = {
    # everybody's pages
    "": READ_ONLY,
    "models": READ_ONLY,
    "pricing": READ_ONLY,
    "docs": READ_ONLY,
    "docs/<slug:slug>": READ_ONLY,
    "docs/<slug:slug>.md": READ_ONLY,
    "llms.txt": READ_ONLY,
    # whoever holds the signed link, signed in or not
    "unsubscribe/<str:token>": ("ok", "ok"),
    # this token is no invitation's
    "invitations/<str:token>": ("hidden", "hidden"),
    "webhooks/stripe": ("method", "unsigned"),
    "robots.txt": READ_ONLY,
    "site.webmanifest": READ_ONLY,
    "favicon.ico": ("moved", "method"),
    # a workspace's pages: ``other`` sees their own workspace there, and nothing of this one
    "dashboard": MEMBERS,
    # a person's own account, whatever their workspace
    "dashboard/account": OWN_PAGE,
    "dashboard/account/name": ("method", OWN_PAGE[0].replace("ok", "moved")),
    "dashboard/account/log": OWN_PAGE,
    "dashboard/account/delete": PROVED_KEPT,
    "dashboard/account/delete/confirm": (PROVED[0], PROVED[0]),
    "dashboard/account/deleted": READ_ONLY,
    # one that is not there is put away already
    "dashboard/announcements/<int:announcement>/dismiss": (
        "method",
        "login moved moved moved moved moved moved moved moved",
    ),
    "dashboard/switch": ("method", "login hidden hidden hidden hidden hidden hidden denied hidden"),
    # who is in no workspace makes a first one from the page that says so
    "dashboard/workspaces/new": ("login ok ok ok ok ok ok denied ok", "login form form form form form form form form"),
    "dashboard/workspace": (MEMBERS[0], "login form denied denied denied form form denied form"),
    "dashboard/workspace/transfer": OWNS,
    "dashboard/workspace/delete": OWNS,
    "dashboard/workspace/restore": ("method", "login moved denied denied denied denied moved denied moved"),
    "dashboard/workspace/leave": ("method", "login moved moved moved moved moved moved denied moved"),
    "dashboard/members": MEMBERS,
    "dashboard/members/invite": ("method", "login form denied denied denied form form denied form"),
    "dashboard/members/<int:member>": ("login hidden denied denied denied ok ok denied ok", "method"),
    "dashboard/members/<int:member>/role": ("method", "login hidden denied denied denied form form denied form"),
    "dashboard/members/<int:member>/budget": ("method", MANAGES_PEOPLE),
    "dashboard/members/<int:member>/remove": ("method", MANAGES_PEOPLE),
    "dashboard/invitations/<int:invitation>/resend": ("method", MANAGES_PEOPLE),
    "dashboard/invitations/<int:invitation>/revoke": ("method", MANAGES_PEOPLE),
    "dashboard/audit": ("login ok denied denied denied ok ok denied ok", "method"),
    "dashboard/audit.csv": ("login ok denied denied denied ok ok denied ok", "method"),
    "dashboard/policies/<slug:policy>": (MEMBERS[0], "login moved denied denied denied moved moved denied moved"),
    "dashboard/usage": MEMBERS,
    "dashboard/usage/<slug:request_id>": ("login hidden ok ok ok ok ok denied ok", "method"),
    "dashboard/credits": SEES_MONEY,
    "dashboard/credits/arrival": SEES_MONEY_PARTS,
    "dashboard/credits/buy": ("method", MANAGES_MONEY),
    "dashboard/credits/top-up": (MANAGES_MONEY, MANAGES_MONEY),
    "dashboard/plan": SEES_MONEY,
    "dashboard/plan/start": SEES_MONEY_PARTS,
    "dashboard/plan/subscribe": ("method", MANAGES_MONEY),
    "dashboard/plan/change": (HIDDEN_STEP, MANAGES_MONEY),
    "dashboard/plan/cancel": (HIDDEN_STEP, MANAGES_MONEY),
    "dashboard/plan/resume": ("method", MANAGES_MONEY),
    "dashboard/plan/portal": ("method", MANAGES_MONEY),
    "dashboard/api-keys": MEMBERS,
    "dashboard/api-keys/create": ("method", "login form denied denied form form form denied form"),
    "dashboard/api-keys/<slug:prefix>/edit": KEY_STEP,
    "dashboard/api-keys/<slug:prefix>/rotate": KEY_STEP,
    "dashboard/api-keys/<slug:prefix>/switch": KEY_ACT,
    "dashboard/api-keys/<slug:prefix>/end-old": KEY_ACT,
    "dashboard/api-keys/<slug:prefix>/revoke": (
        "login hidden denied denied ok ok ok denied ok",
        "login hidden denied denied form form form denied form",
    ),
    "dashboard/management-keys": ("login ok denied denied denied ok ok denied ok", "method"),
    "dashboard/management-keys/create": ("method", "login form denied denied denied form form denied form"),
    "dashboard/management-keys/<slug:prefix>/revoke": (
        "login hidden denied denied denied ok ok denied ok",
        "login hidden denied denied denied form form denied form",
    ),
    # signing in, up and out; one's own password and addresses
    "login": (
        "ok moved moved moved moved moved moved moved moved",
        "form moved moved moved moved moved moved moved moved",
    ),
    "signup": (
        "ok moved moved moved moved moved moved moved moved",
        "form moved moved moved moved moved moved moved moved",
    ),
    "accounts/login/": ("moved", "moved"),
    "accounts/signup/": ("moved", "moved"),
    "accounts/logout/": ("moved ok ok ok ok ok ok ok ok", "moved"),
    "accounts/inactive/": READ_ONLY,
    "accounts/email/": ("login ok ok ok ok ok ok ok ok", "login moved moved moved moved moved moved moved moved"),
    "accounts/reauthenticate/": SIGNED_IN,
    "accounts/password/change/": SIGNED_IN,
    "accounts/password/set/": (
        "login moved moved moved moved moved moved moved moved",
        "login moved moved moved moved moved moved moved moved",
    ),
    "accounts/password/reset/": ("ok", "form"),
    "accounts/password/reset/done/": READ_ONLY,
    "accounts/^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$": ("ok", "form"),
    "accounts/password/reset/key/done/": READ_ONLY,
    "accounts/confirm-email/": READ_ONLY,
    r"accounts/^confirm-email/(?P<key>[-:\w]+)/$": ("ok", "hidden"),
    "accounts/login/code/": (
        "ok moved moved moved moved moved moved moved moved",
        "form moved moved moved moved moved moved moved moved",
    ),
    "accounts/login/code/confirm/": ("moved", "moved"),
    # second factors, passkeys, sessions, providers
    "accounts/2fa/": (ELSEWHERE, "method"),
    "accounts/2fa/authenticate/": ("moved", "moved"),
    "accounts/2fa/reauthenticate/": (ELSEWHERE, ELSEWHERE),
    "accounts/2fa/totp/activate/": PROVED,
    "accounts/2fa/totp/deactivate/": (HAVE_NONE, HAVE_NONE),
    "accounts/2fa/webauthn/": (ELSEWHERE, "method"),
    "accounts/2fa/webauthn/add/": PROVED,
    "accounts/2fa/webauthn/reauthenticate/": (ELSEWHERE, ELSEWHERE),
    "accounts/2fa/webauthn/keys/<int:pk>/remove/": PROVED,
    "accounts/2fa/webauthn/keys/<int:pk>/edit/": PROVED,
    "accounts/2fa/webauthn/login/": ("moved", "moved"),
    "accounts/2fa/recovery-codes/": (HAVE_NONE, READS_SIGNED_IN[1]),
    "accounts/2fa/recovery-codes/generate/": PROVED,
    "accounts/2fa/recovery-codes/download/": (HAVE_NONE, HAVE_NONE),
    "accounts/sessions/": (ELSEWHERE, ELSEWHERE),
    "accounts/sessions/<int:session_id>/end": (
        "method",
        "login hidden hidden hidden hidden hidden hidden hidden hidden",
    ),
    "accounts/3rdparty/": SIGNED_IN,
    "accounts/3rdparty/signup/": ("moved", "moved"),
    "accounts/3rdparty/login/cancelled/": READ_ONLY,
    "accounts/3rdparty/login/error/": ("failed", "method"),
    "accounts/social/login/cancelled/": ("renamed", "renamed"),
    "accounts/social/login/error/": ("renamed", "renamed"),
    "accounts/social/signup/": ("renamed", "renamed"),
    "accounts/social/connections/": ("renamed", "renamed"),
    "accounts/google/login/": ("hidden", "hidden"),
    "accounts/google/login/callback/": ("hidden", "hidden"),
    "accounts/google/login/token/": ("hidden", "hidden"),
    "accounts/github/login/": ("hidden", "hidden"),
    "accounts/github/login/callback/": ("hidden", "hidden"),
    "accounts/oidc/<provider_id>/login/": ("hidden", "hidden"),
    "accounts/oidc/^(?P<provider_id>[^/]+)/login/": ("hidden", "hidden"),
    "accounts/oidc/^(?P<provider_id>[^/]+)/login/callback/": ("hidden", "hidden"),
    # development only, which tests are not
    "dev/mail": ("hidden", "method"),
    "dev/mail/<str:name>": ("hidden", "method"),
    "dev/mail/<str:name>/html": ("hidden", "method"),
    # the admin: no role in a workspace opens it, and being staff opens the empty front page alone
    "admin": ("moved", "moved"),
    "admin/": ADMIN_PAGE,
    # leads on to signing in, and from there to the admin; who has signed in and is not staff is told so
    "admin/login/": (
        "moved denied denied denied denied denied denied moved denied",
        "moved denied denied denied denied denied denied moved denied",
    ),
    "admin/logout/": ("moved moved moved moved moved moved moved method moved", "moved"),
    "admin/password_change/": (ADMIN_MOVED, ADMIN_MOVED),
    "admin/password_change/done/": (ADMIN_MOVED, ADMIN_MOVED),
    "admin/autocomplete/": (ADMIN_DENIED[0], "gate gate gate gate gate gate gate method gate"),
    "admin/jsi18n/": (ADMIN_PAGE[0], "gate gate gate gate gate gate gate method gate"),
    "admin/r/<path:content_type_id>/<path:object_id>/": ADMIN_HIDDEN,
    "admin/APP/MODEL/": ADMIN_DENIED,
    "admin/APP/MODEL/add/": ADMIN_DENIED,
    "admin/APP/MODEL/<path:object_id>/history/": ADMIN_DENIED,
    "admin/APP/MODEL/<path:object_id>/delete/": ADMIN_DENIED,
    "admin/APP/MODEL/<path:object_id>/change/": ADMIN_DENIED,
    "admin/APP/MODEL/<path:object_id>/import/": ADMIN_DENIED,
    "admin/APP/MODEL/<path:object_id>/price/": ADMIN_DENIED,
    "admin/APP/MODEL/<path:object_id>/adjust/": ADMIN_DENIED,
    "admin/APP/MODEL/<path:object_id>/grant/": ADMIN_DENIED,
    "admin/APP/MODEL/<path:object_id>/freeze/": ADMIN_DENIED,
    "admin/APP/MODEL/<path:object_id>/unfreeze/": ADMIN_DENIED,
    "admin/APP/MODEL/<path:object_id>/refund/": ADMIN_DENIED,
    "admin/APP/MODEL/<path:object_id>/": (  # leads to …/change/, which refuses
        "gate gate gate gate gate gate gate moved gate",
        "gate gate gate gate gate gate gate moved gate",
    ),
    "admin/APP": ADMIN_HIDDEN,
    "admin/(?P<url>.*)$": ADMIN_HIDDEN,
    # whatever else ends in a slash and has no page without it
    "<path:page>/": ("hidden", "hidden"),
}

#: Where a form's token is not asked for: mail programs send RFC 8058's one-click POST without a cookie, and the address is signed;
#: Stripe signs its deliveries.
WITHOUT_FORM_TOKEN = {"unsubscribe/<str:token>", "webhooks/stripe"}

#: The admin knows no roles of workspaces, so one member stands for all of them there.
ADMIN_VISITORS = ("anonymous", "owner", "staff")


def row_of(route: str) -> str:
    """Return the name of a route's row."""
    return "admin/APP" if route.startswith("admin/^(?P<app_label>") else family_of(route)


def expected(route: str, method: str, visitor: str) -> str:
    """Return the word in a cell."""
    words = TABLE[row_of(route)][0 if method == "GET" else 1].split()
    return (
        words[0]
        if len(words) == 1
        else dict(zip(VISITORS, words, strict=True))[visitor if visitor in VISITORS else "anonymous"]
    )


def visit(world: World, visitor: str, method: str, address: str) -> HttpResponse:
    """Ask for an address, and undo what that changed."""
    browser = world.browsers[visitor]
    cookies = SimpleCookie(browser.cookies.output(header="", sep=";"))
    with transaction.atomic():
        response = browser.generic(method, address)
        transaction.set_rollback(True)
    browser.cookies = cookies
    return response  # type: ignore[return-value]  # the stubs give the test client's class a name of its own


def is_as_expected(response: HttpResponse, word: str, *, route: str) -> bool:
    """Tell whether an answer is what the table says."""
    statuses, places = ANSWERS[word]
    model = admin_model_of(route)
    if word == "denied" and route.endswith("/history/") and model is not None and not model._default_manager.exists():
        # The admin looks for the object first, and there is none to be refused.
        statuses, places = {302}, ("/admin/",)
    if response.status_code not in statuses:
        return False
    place = response.get("Location", "")
    leads_home = not place.startswith("//") and place.startswith(places or ("/",))
    return leads_home if response.status_code in {301, 302} else not place


def differences(world: World, routes: list[str], visitors: tuple[str, ...]) -> list[str]:
    """Return what is not as the table says, a line each."""
    found = []
    for route in routes:
        for method in ("GET", "POST"):
            for visitor in visitors:
                address = world.address_of(route, visitor=visitor)
                response = visit(world, visitor, method, address)
                word = expected(route, method, visitor)
                if not is_as_expected(response, word, route=route):
                    place = response.get("Location", "")
                    found.append(f"{method} {address} as {visitor}: {response.status_code} {place}, not {word}")
                if visitor in {"anonymous", "other", "staff", "suspended", *KEYS} and world.is_told_by(response):
                    found.append(f"{method} {address} tells {visitor} about another's workspace")
    return found


def test_every_address_has_a_row_and_every_row_an_address() -> None:
    rows = {row_of(route) for route in all_routes()}
    assert sorted(rows - set(TABLE)) == [], "addresses without a row in the authorization table"
    assert sorted(set(TABLE) - rows) == [], "rows of the authorization table without an address"


def test_every_row_is_written_in_known_words() -> None:
    for route, cells in TABLE.items():
        for words in cells:
            assert set(words.split()) <= set(ANSWERS), route
            assert len(words.split()) in {1, len(VISITORS)}, route


@pytest.mark.django_db
def test_the_site_answers_as_the_table_says() -> None:
    routes = [route for route in all_routes() if not route.startswith("admin/")]
    assert differences(make_world(), routes, (*VISITORS, *KEYS)) == []


@pytest.mark.django_db
def test_the_admin_answers_as_the_table_says() -> None:
    routes = [route for route in all_routes() if route.startswith("admin/")]
    assert differences(make_world(), routes, ADMIN_VISITORS) == []


@pytest.mark.django_db
def test_no_role_opens_the_admin() -> None:
    world = make_world()
    for visitor in VISITORS:
        response = visit(world, visitor, "GET", "/admin/")
        assert is_as_expected(response, expected("admin/", "GET", visitor), route="admin/"), visitor


@pytest.mark.django_db
def test_a_form_without_its_token_is_refused_everywhere() -> None:
    world = make_world()
    let_through = []
    for route in all_routes():
        if route not in WITHOUT_FORM_TOKEN and not {"method", "hidden", "gate"} & set(
            expected(route, "POST", "owner").split()
        ):
            browser = world.browsers["owner"]
            browser.handler.enforce_csrf_checks = True
            response = visit(world, "owner", "POST", world.address_of(route))
            if response.status_code != 403:
                let_through.append(route)
    assert let_through == []
