"""``manage.py peer``: what a Peer is for, what it is sent, and what it refuses."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from gateway.models import Peer, RefusedOutput

pytestmark = pytest.mark.django_db


def peer(*arguments: str) -> str:
    """Run the command and return what it said."""
    out = StringIO()
    call_command("peer", *arguments, stdout=out)
    return out.getvalue()


def test_outputs_language_and_roles_are_set_and_listed() -> None:
    peer(
        "add", "WARD", "10.1.2.7", "104", "--destination", "--archive", "--worklist",
        "--output", "pdf", "--output", "comprehensive_3d", "--language", "zh-hans",
    )  # fmt: skip
    row = Peer.objects.get()
    assert row.outputs == ["pdf", "comprehensive_3d"]
    assert (row.language, row.is_archive, row.is_worklist) == ("zh-hans", True, True)
    RefusedOutput.objects.create(
        peer=row, output="comprehensive_3d", address=str(row), sop_class_uid="1.2"
    )
    (line,) = peer("list").splitlines()
    assert line.startswith("WARD@10.1.2.7:104")
    for said in (
        "receives reports",
        "answers queries",
        "has the worklist",
        "as pdf + comprehensive_3d in zh-hans",
        "refuses comprehensive_3d",
    ):
        assert said in line


def test_what_is_not_said_is_usual_at_first_and_stays_later() -> None:
    peer("add", "PACS", "pacs", "104", "--destination")
    row = Peer.objects.get()
    assert (row.outputs, row.language) == (["basic_text", "comprehensive"], "en")
    peer("add", "PACS", "pacs", "104", "--destination", "--output", "enhanced")
    peer("add", "PACS", "pacs", "104", "--destination", "--sender")
    row.refresh_from_db()
    assert (row.outputs, row.is_sender) == (["enhanced"], True)


@pytest.mark.parametrize(
    "wrong", [("--output", "fax"), ("--language", "la"), ("--output", "pdf", "--output", "pdf")]
)
def test_what_cannot_be_is_refused(wrong: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        peer("add", "PACS", "pacs", "104", "--destination", *wrong)
    assert not Peer.objects.exists()
