"""Names, slugs and time zones; slugs that were given up; how many workspaces one may own."""

import datetime as dt

import pytest
from django.conf import LazySettings

from accounts.models import AuditEntry, FormerSlug, Workspace
from accounts.selectors.workspaces import membership_of, workspace_by_slug
from accounts.services.workspace_settings import InvalidSlugError, UnknownTimeZoneError, change_workspace
from accounts.services.workspaces import (
    InvalidWorkspaceNameError,
    TooManyWorkspacesError,
    WorkspaceExistsError,
    create_workspace,
    open_workspace,
)
from lumyx.lib import clock
from tests.accounts.test_members import at_once
from tests.factories import Cast, make_user, make_workspace


@pytest.mark.django_db
def test_what_is_given_changes_and_is_written_down(cast: Cast) -> None:
    changed = change_workspace(cast.workspace.pk, name=" Wonder & land ", time_zone="Asia/Kathmandu")
    assert (changed.name, changed.time_zone, changed.slug) == ("Wonder & land", "Asia/Kathmandu", cast.workspace.slug)
    line = AuditEntry.objects.latest("pk")
    assert line.action == "workspace.changed"
    assert line.details == {"name": ["Alice's lab", "Wonder & land"], "time_zone": ["UTC", "Asia/Kathmandu"]}
    change_workspace(cast.workspace.pk, name="Wonder & land")
    assert AuditEntry.objects.latest("pk") == line, "no change is no line"


@pytest.mark.django_db
@pytest.mark.parametrize("slug", ["", "ab", "-ab", "a b c", "ünique", "a" * 61, "a/b", "ab--cd", "../x", "abc\0"])
def test_a_slug_that_cannot_be_is_refused(cast: Cast, slug: str) -> None:
    with pytest.raises(InvalidSlugError):
        change_workspace(cast.workspace.pk, slug=slug)


@pytest.mark.django_db
def test_a_name_or_zone_that_cannot_be_is_refused(cast: Cast) -> None:
    with pytest.raises(InvalidWorkspaceNameError):
        change_workspace(cast.workspace.pk, name="two\nlines")
    for zone in ("Mars/Olympus", "", "../../etc/passwd"):
        with pytest.raises(UnknownTimeZoneError):
            change_workspace(cast.workspace.pk, time_zone=zone)
    assert Workspace.objects.get(pk=cast.workspace.pk).time_zone == "UTC"


@pytest.mark.django_db
def test_the_slug_before_leads_to_the_workspace_for_thirty_days_and_is_nobody_elses(cast: Cast) -> None:
    before = cast.workspace.slug
    change_workspace(cast.workspace.pk, slug="wonderland")
    assert workspace_by_slug(before) == workspace_by_slug("wonderland") == cast.workspace
    membership = membership_of(cast.bob, slug=before)
    assert membership is not None
    assert membership.workspace == cast.workspace
    assert membership_of(cast.charlie, slug=before) is None
    with pytest.raises(WorkspaceExistsError, match="still leads to another"):
        change_workspace(cast.other_workspace.pk, slug=before)
    with pytest.raises(WorkspaceExistsError):
        create_workspace("x", owner=cast.charlie, slug=before)
    assert create_workspace("Alice's lab", owner=cast.charlie).slug.startswith(f"{before}-")
    assert Workspace.objects.get(pk=cast.other_workspace.pk).slug != before
    FormerSlug.objects.update(ends_at=clock.now() - dt.timedelta(seconds=1))
    assert workspace_by_slug(before) is None
    assert change_workspace(cast.other_workspace.pk, slug=before).slug == before
    assert workspace_by_slug(before) == cast.other_workspace


@pytest.mark.django_db
def test_a_workspace_takes_its_own_old_slug_back(cast: Cast) -> None:
    before = cast.workspace.slug
    change_workspace(cast.workspace.pk, slug="wonderland")
    assert change_workspace(cast.workspace.pk, slug=before).slug == before
    assert [former.slug for former in FormerSlug.objects.all()] == ["wonderland"]


@pytest.mark.django_db
def test_another_workspaces_slug_is_taken(cast: Cast) -> None:
    with pytest.raises(WorkspaceExistsError, match="Another workspace"):
        change_workspace(cast.workspace.pk, slug=cast.other_workspace.slug)


@pytest.mark.django_db(transaction=True)
def test_of_two_who_take_one_slug_at_once_one_has_it() -> None:
    first, second = make_workspace(), make_workspace()
    answers = at_once(*(lambda pk=pk: change_workspace(pk, slug="wanted") for pk in (first.pk, second.pk)))
    assert sum(isinstance(answer, WorkspaceExistsError) for answer in answers) == 1
    assert Workspace.objects.filter(slug="wanted").count() == 1


@pytest.mark.django_db(transaction=True)
def test_one_may_own_so_many_workspaces_also_if_they_are_made_at_once(settings: LazySettings) -> None:
    settings.LUMYX_WORKSPACES_PER_USER = 3
    owner = make_user()
    answers = at_once(*[lambda: open_workspace("Lab", owner=owner)] * 6)
    assert sum(isinstance(answer, Workspace) for answer in answers) == 3
    assert sum(isinstance(answer, TooManyWorkspacesError) for answer in answers) == 3
    assert Workspace.objects.filter(owner=owner).count() == 3
