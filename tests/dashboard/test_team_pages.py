"""Members, invitations, settings, hand-over and deletion, as people use the pages."""

import re

import pytest
from django.core import mail
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from accounts.models import Invitation, Membership, User, Workspace
from accounts.roles import Role
from accounts.services.invitations import invite
from accounts.services.policies import accept_policy
from accounts.services.workspace_settings import change_workspace
from billing.models import Notice
from billing.services.notice_sending import send_notices
from dashboard.guards import WORKSPACE_KEY
from dashboard.team_forms import MAX_ID
from lumyx.lib import clock
from tests.dashboard.pages import text_of
from tests.factories import Cast, fund, make_cast, make_member, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def cast() -> Cast:
    return make_cast()


def signed_in(user: User) -> Client:
    """Return the browser of a person."""
    client = Client()
    client.force_login(user)
    return client


def member_id(workspace: Workspace, user: User) -> int:
    """Return the id of a membership."""
    return Membership.objects.get(workspace=workspace, user=user).pk


def link_in_the_mail() -> str:
    """Return the path of the invitation in the newest message."""
    found = re.search(r"http://testserver(/invitations/\S+)", str(mail.outbox[-1].body))
    assert found is not None
    return found[1]


def invited(cast: Cast, email: str = "nina@example.com", role: str = "developer") -> str:
    """Invite somebody on the page, as Alice, and return the link's path."""
    response = signed_in(cast.alice).post(reverse("dashboard:invite"), {"email": email, "role": role})
    assert response.status_code == 302
    return link_in_the_mail()


def test_an_invitation_goes_from_the_page_to_a_member(cast: Cast) -> None:
    path = invited(cast)
    message = mail.outbox[-1]
    assert message.to == ["nina@example.com"]
    assert message.subject == "Join Alice's lab on LumyxAI"
    assert "Alice invites you to Alice's lab" in str(message.body)
    [(html, kind)] = message.alternatives  # type: ignore[attr-defined]  # it has one
    assert (kind, path in str(html)) == ("text/html", True)
    stranger = Client()
    page = stranger.get(path)
    assert page.status_code == 200
    assert f"/login?next={path}" in page.text
    assert f"/signup?email=nina%40example.com&amp;next={path}" in page.text
    nina = signed_in(make_user("nina@example.com", name="Nina"))
    assert "Join as developer" in nina.get(path).text
    response = nina.post(path)
    assert response["Location"] == reverse("dashboard:overview")
    assert "Alice&#x27;s lab" in nina.get(reverse("dashboard:members")).text
    send_notices()
    assert [(m.to, m.subject) for m in mail.outbox[1:]] == [(["alice@example.com"], "Nina joined")]


def test_signing_up_by_the_link_leads_back_to_it(cast: Cast) -> None:
    path = invited(cast)
    browser = Client()
    assert 'value="nina@example.com"' in browser.get(f"/signup?email=nina%40example.com&next={path}").text
    data = {"email": "nina@example.com", "password1": "correct horse battery staple", "next": path}
    assert browser.post("/signup", data).status_code == 302
    nina = User.objects.get(email="nina@example.com")
    assert signed_in(nina).post(path)["Location"] == reverse("dashboard:overview")
    nina.refresh_from_db()
    assert nina.email_is_verified, "the link proved the address"
    assert Membership.objects.get(workspace=cast.workspace, user=nina).role == Role.DEVELOPER


def test_another_person_with_the_link_is_told_whose_it_is_and_does_not_join(cast: Cast) -> None:
    path = invited(cast)
    charlie = signed_in(cast.charlie)
    for response in (charlie.get(path), charlie.post(path)):
        assert response.status_code == 403
        assert "nina@example.com" in response.text
        assert "charlie@example.com" in response.text
    assert not Membership.objects.filter(workspace=cast.workspace, user=cast.charlie).exists()


def test_a_link_that_is_over_tells_nothing_of_the_workspace(cast: Cast) -> None:
    path = invited(cast)
    row = Invitation.objects.get()
    assert signed_in(cast.alice).post(reverse("dashboard:invitation_revoke", args=[row.pk])).status_code == 302
    for response, status in ((Client().get(path), 410), (Client().get(path[:-3] + "xyz"), 404)):
        assert response.status_code == status
        assert "Alice" not in response.text
        assert "nina" not in response.text
        assert response["Cache-Control"].startswith("max-age=0")


def test_an_anonymous_post_leads_to_signing_in(cast: Cast) -> None:
    path = invited(cast)
    assert Client().post(path)["Location"] == f"/login?next={path}"
    assert Invitation.objects.get().state == "open"


def test_the_form_says_what_is_wrong(cast: Cast) -> None:
    alice = signed_in(cast.alice)
    cases = [
        ({"email": "", "role": "viewer"}, "Enter the person’s e-mail address."),
        ({"email": "nobody", "role": "viewer"}, "This is not an e-mail address."),
        ({"email": "bob@example.com", "role": "viewer"}, "bob@example.com is a member of this workspace already."),
        ({"email": "nina@example.com", "role": "owner"}, "Choose a role."),
        ({"email": "nina@example.com"}, "Choose a role."),
    ]
    for data, words in cases:
        response = alice.post(reverse("dashboard:invite"), data)
        assert response.status_code == 422
        assert words in response.text
    admin = signed_in(make_member(cast.workspace, Role.ADMIN))
    assert 'value="billing"' not in admin.get(reverse("dashboard:members") + "?invite").text
    assert admin.post(reverse("dashboard:invite"), {"email": "n@example.com", "role": "billing"}).status_code == 422
    assert mail.outbox == []


def test_mail_that_cannot_be_sent_is_told_and_sent_again(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_options: object) -> int:
        raise ConnectionRefusedError

    alice = signed_in(cast.alice)
    with monkeypatch.context() as patch:
        patch.setattr("billing.services.notice_mail.NoticeMessage.send", broken)
        page = alice.post(reverse("dashboard:invite"), {"email": "nina@example.com", "role": "viewer"}, follow=True)
    assert "could not be sent just now" in page.text
    row = Invitation.objects.get()
    assert "a moment ago" in alice.post(reverse("dashboard:invitation_resend", args=[row.pk]), follow=True).text
    Invitation.objects.update(sent_at=clock.now().replace(year=2020))
    assert "on its way" in alice.post(reverse("dashboard:invitation_resend", args=[row.pk]), follow=True).text
    assert mail.outbox[-1].to == ["nina@example.com"]


def test_a_role_changes_on_the_members_page_and_they_are_told(cast: Cast) -> None:
    alice, bob = signed_in(cast.alice), member_id(cast.workspace, cast.bob)
    assert "Change the role" in alice.get(reverse("dashboard:member", args=[bob])).text
    page = alice.post(reverse("dashboard:member_role", args=[bob]), {"role": "viewer"}, follow=True)
    assert "Bob is viewer now." in page.text
    alice.post(reverse("dashboard:member_remove", args=[bob]))
    assert not Membership.objects.filter(user=cast.bob).exists()
    send_notices()
    assert [(message.to, message.subject) for message in mail.outbox] == [
        (["bob@example.com"], "Your role is viewer now"),
        (["bob@example.com"], "You were removed from Alice's lab"),
    ]


def test_what_is_beyond_a_role_is_said_and_refused(cast: Cast) -> None:
    admin = make_member(cast.workspace, Role.ADMIN)
    payer = make_member(cast.workspace, Role.BILLING)
    browser = signed_in(admin)
    for user, words in (
        (cast.alice, "The owner stays the owner"),
        (payer, "may do more than yours"),
        (admin, "This is you."),
    ):
        number = member_id(cast.workspace, user)
        page = browser.get(reverse("dashboard:member", args=[number]))
        assert words in page.text
        assert not re.search("/members/[0-9]+/(role|remove)", page.text.split("<main", 1)[1])
        for name, data in (("member_role", {"role": "viewer"}), ("member_remove", {})):
            assert browser.post(reverse(f"dashboard:{name}", args=[number]), data).status_code == 422
    assert Membership.objects.filter(workspace=cast.workspace).count() == 4


def test_ids_of_another_workspace_are_404_everywhere(cast: Cast) -> None:
    theirs = member_id(cast.other_workspace, cast.charlie)
    invitation = invite(cast.other_workspace.pk, email="n@example.com", role=Role.VIEWER, by=cast.charlie).row.pk
    alice = signed_in(cast.alice)
    for number, name in (
        (theirs, "member"),
        (theirs, "member_role"),
        (theirs, "member_remove"),
        (invitation, "invitation_resend"),
        (invitation, "invitation_revoke"),
    ):
        for one in (number, MAX_ID + 1):
            address = reverse(f"dashboard:{name}", args=[one])
            response = alice.get(address) if name == "member" else alice.post(address, {"role": "viewer"})
            assert response.status_code == 404, address
    form = {"member": str(theirs), "name": cast.workspace.name}
    assert alice.post(reverse("dashboard:transfer"), form).status_code == 404
    assert Membership.objects.filter(pk=theirs, role="owner").exists()
    assert Invitation.objects.get(pk=invitation).state == "open"


def test_a_member_leaves(cast: Cast) -> None:
    bob = signed_in(cast.bob)
    assert "Leave now" in bob.get(reverse("dashboard:members")).text
    assert bob.post(reverse("dashboard:leave")).status_code == 302
    assert bob.get(reverse("dashboard:overview")).status_code == 403
    alice = signed_in(cast.alice)
    assert "Hand it over or delete it" in alice.post(reverse("dashboard:leave"), follow=True).text


def test_the_members_page_shows_addresses_of_invitations_to_managers_only(cast: Cast) -> None:
    invited(cast)
    assert "nina@example.com" in signed_in(cast.alice).get(reverse("dashboard:members")).text
    assert "nina@example.com" not in signed_in(cast.bob).get(reverse("dashboard:members")).text


def test_settings_are_changed_and_shown_in_the_zone(cast: Cast) -> None:
    alice, page = signed_in(cast.alice), reverse("dashboard:workspace")
    data = {"name": "Wonderland", "slug": "wonderland", "time_zone": "Asia/Kathmandu"}
    assert "The settings are saved." in alice.post(page, data, follow=True).text
    workspace = Workspace.objects.get(pk=cast.workspace.pk)
    assert (workspace.name, workspace.slug, workspace.time_zone) == ("Wonderland", "wonderland", "Asia/Kathmandu")
    local = clock.now().astimezone(clock.zone("Asia/Kathmandu"))
    assert f"{local:%H:%M} +0545" in alice.get(page).text
    assert re.search(r'<time datetime="[^"]+\+05:45"', alice.get(reverse("dashboard:members")).text)
    for wrong, words in (
        ({"slug": "x"}, "A slug has 3 to 60"),
        ({"slug": cast.other_workspace.slug}, "Another workspace has the slug"),
        ({"time_zone": "Mars/Olympus"}, "Choose a time zone"),
        ({"name": " "}, "Give the workspace a name."),
    ):
        response = alice.post(page, data | wrong)
        assert response.status_code == 422
        assert words in response.text
    assert signed_in(cast.bob).post(page, data).status_code == 403


def test_a_session_survives_that_somebody_else_changes_the_slug(cast: Cast) -> None:
    bob = signed_in(cast.bob)
    bob.post(reverse("dashboard:switch"), {"workspace": cast.workspace.slug})
    assert bob.session[WORKSPACE_KEY] == cast.workspace.slug
    change_workspace(cast.workspace.pk, slug="wonderland")
    assert "Alice&#x27;s lab" in bob.get(reverse("dashboard:members")).text


def test_another_workspace_is_made_and_changed_to(cast: Cast) -> None:
    bob = signed_in(cast.bob)
    page = bob.post(reverse("dashboard:workspace_new"), {"name": "Bob's own"}, follow=True)
    assert "Bob&#x27;s own" in page.text
    assert Workspace.objects.get(name="Bob's own").owner == cast.bob
    for name in ("", "x" * 121, "a\nb"):
        assert bob.post(reverse("dashboard:workspace_new"), {"name": name}).status_code == 422


def test_who_is_in_no_workspace_makes_one(cast: Cast) -> None:
    dora = signed_in(make_user("dora@example.com"))
    nowhere = dora.get(reverse("dashboard:overview"))
    assert nowhere.status_code == 403
    assert reverse("dashboard:workspace_new") in nowhere.text
    wrong = dora.post(reverse("dashboard:workspace_new"), {"name": " "})
    assert (wrong.status_code, "Give the workspace a name." in wrong.text) == (422, True)
    assert "Dora&#x27;s" in dora.post(reverse("dashboard:workspace_new"), {"name": "Dora's"}, follow=True).text
    assert dora.get(reverse("dashboard:overview")).status_code == 200


def test_keeping_a_workspace_that_nobody_deletes_tells_nobody(cast: Cast) -> None:
    assert signed_in(cast.alice).post(reverse("dashboard:restore")).status_code == 302
    assert not Notice.objects.exists()


def test_the_owner_hands_over_by_typing_the_name_and_both_are_told(cast: Cast) -> None:
    alice, page = signed_in(cast.alice), reverse("dashboard:transfer")
    form = {"member": str(member_id(cast.workspace, cast.bob)), "name": "Alice's lab"}
    assert alice.post(page, form | {"name": "alice's lab"}).status_code == 422
    assert Workspace.objects.get(pk=cast.workspace.pk).owner == cast.alice
    assert alice.post(page, form).status_code == 302
    assert Workspace.objects.get(pk=cast.workspace.pk).owner == cast.bob
    assert alice.get(page).status_code == 403
    send_notices()
    told = {message.to[0]: str(message.body) for message in mail.outbox}
    assert set(told) == {"alice@example.com", "bob@example.com"}
    assert "You own Alice's lab now" in told["bob@example.com"]
    assert "Bob owns Alice's lab now" in told["alice@example.com"]


def test_a_deletion_is_planned_stands_still_and_is_taken_back(cast: Cast) -> None:
    fund(cast.workspace, "12.5")
    alice, bob, page = signed_in(cast.alice), signed_in(cast.bob), reverse("dashboard:delete")
    assert "$12.50 of credit is unused" in text_of(alice.get(page).text)
    assert alice.post(page, {"name": "wrong"}).status_code == 422
    assert alice.post(page, {"name": "Alice's lab"}).status_code == 302
    assert Workspace.objects.get(pk=cast.workspace.pk).is_closing
    for browser in (alice, bob):
        assert "This workspace will be deleted on" in browser.get(reverse("dashboard:overview")).text
    refused = bob.post(reverse("dashboard:key_create"), {"name": "k"})
    assert refused.status_code == 403
    assert "Nothing can be changed here" in refused.text
    assert bob.post(reverse("dashboard:restore")).status_code == 403
    assert "stays, and its API keys work again" in alice.post(reverse("dashboard:restore"), follow=True).text
    assert not Workspace.objects.get(pk=cast.workspace.pk).is_closing
    send_notices()
    assert sorted((message.to[0], message.subject) for message in mail.outbox) == [
        ("alice@example.com", "Alice's lab stays"),
        ("alice@example.com", "Alice's lab will be deleted"),
        ("bob@example.com", "Alice's lab stays"),
        ("bob@example.com", "Alice's lab will be deleted"),
    ]


def test_a_notice_to_a_person_goes_to_that_person_alone(cast: Cast) -> None:
    make_member(cast.workspace, Role.ADMIN)
    bob = member_id(cast.workspace, cast.bob)
    signed_in(cast.alice).post(reverse("dashboard:member_role", args=[bob]), {"role": "viewer"})
    cast.bob.is_active = False
    cast.bob.save()
    send_notices()
    assert mail.outbox == []
    assert Notice.objects.get().gave_up_at is not None


def test_names_are_escaped_everywhere(cast: Cast) -> None:
    nasty = "<script>alert(1)</script>"
    change_workspace(cast.workspace.pk, name=nasty)
    User.objects.filter(pk=cast.bob.pk).update(name=nasty)
    accept_policy(cast.workspace.pk, policy="uncensored", accepted_by=nasty)
    path = invited(cast)
    alice, bob = signed_in(cast.alice), member_id(cast.workspace, cast.bob)
    addresses = [reverse(f"dashboard:{name}") for name in ("members", "workspace", "transfer", "delete", "audit")]
    addresses += [reverse("dashboard:member", args=[bob]), reverse("dashboard:policy", args=["uncensored"]), path]
    for address in addresses:
        page = (Client() if address == path else alice).get(address).text
        assert nasty not in page, address
        assert escape(nasty) in page, address
