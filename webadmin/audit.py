"""What people did, one row each: who looked at which patient's data, changed what, came and went.

A deed is written in the transaction of what it is about, before a page of it is answered: what
cannot be written down is not shown. Rows are appended and never changed; :mod:`webadmin.chain`
makes it provable that none was.

Who looks at one ECG again within a minute (its page, then its picture) has done one thing: one
row. A list is one row that names the rows it showed; the small pictures in it are no rows of their
own.

A Deed holds identifiers of patients, because it has to be found by them, and no name of one.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterable
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final

from axes.signals import user_locked_out
from django.conf import settings
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models import Model, TextChoices
from django.db.models.signals import m2m_changed, post_save
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway.models import Instance, Study
from webadmin.models import Deed

ONE_LOOK: Final = datetime.timedelta(minutes=1)
ONE_LIST: Final = datetime.timedelta(minutes=15)
"""How long a list that is open may still load the small pictures of its rows."""


class Action(TextChoices):
    """What a person can do, in the words of the trail."""

    VIEWED = "view", _("Looked at")
    LISTED = "list", _("Listed")
    LOOKED_UP = "look_up", _("Looked up in the worklist")
    DOWNLOADED = "download", _("Downloaded")
    UPLOADED = "upload", _("Handed in")
    READ = "read", _("Read")
    LABELLED = "label", _("Labelled")
    VERIFIED = "verify", _("Verified")
    IMPORTED = "import", _("Imported")
    EXPORTED = "export", _("Exported")
    FROZE = "freeze", _("Froze")
    OPENED_SPLIT = "open_split", _("Opened the locked test split")
    RETRAINED = "retrain", _("Started a training")
    CANCELLED = "cancel", _("Cancelled")
    EVALUATED = "evaluate", _("Evaluated")
    PROMOTED = "promote", _("Promoted")
    ROLLED_BACK = "roll_back", _("Rolled back")
    ADDED = "add", _("Added")
    CHANGED = "change", _("Changed")
    DELETED = "delete", _("Deleted")
    RESUMED = "resume", _("Resumed")
    SIGNED_IN = "sign_in", _("Signed in")
    SIGNED_OUT = "sign_out", _("Signed out")
    SIGN_IN_FAILED = "sign_in_failed", _("Failed to sign in")
    LOCKED_OUT = "lock_out", _("Was locked out")
    LINK_MADE = "link", _("Made a sign-in link")
    ROLES_CHANGED = "roles", _("Changed roles")
    TRAIL_VERIFIED = "verify_trail", _("Verified the trail")
    PASSWORD_CHANGED = "password", _("Changed a password")


present_request: ContextVar[HttpRequest | None] = ContextVar("present_request", default=None)
"""The request that is being answered: signals and functions far below the views act for it."""


def record(
    action: str,
    *,
    request: HttpRequest | None = None,
    actor: str = "",
    subject: Model | str | None = None,
    **detail: Any,
) -> Deed | None:
    """Write down what a person did.

    Parameters
    ----------
    action
        An :class:`Action`, or another word of at most 48 characters.
    request
        Where it was asked for; by default the one that is being answered, if any.
    actor
        Who, where no request says it: the name of a user, or of a command; by default of the one
        that runs.
    subject
        The row it was about. Patient, accession number and UID are filled in from what the row
        leads to.
    detail
        What else should be known, as JSON. ``patient_id``, ``accession_number`` and ``uid`` take
        the place of what the subject says.

    Returns
    -------
    Deed or None
        The row; None where it is a second look within a minute.
    """
    request = request or present_request.get()
    found = _identify(subject) if isinstance(subject, Model) else {}
    found |= {name: str(detail.pop(name)) for name in _IDENTIFIERS if name in detail}
    if request is None:
        who = actor or _command()
    else:
        who = actor or (request.user.get_username() if hasattr(request, "user") else "")
    what = named(subject) if isinstance(subject, Model) else subject or ""
    if action == Action.VIEWED and _was_seen(who, what, detail):
        return None
    return Deed.objects.create(
        actor=who[:150],
        address=client_address(request)[:64] if request else "",
        action=action,
        subject=what[:100],
        detail=detail,
        **{name: value[: _IDENTIFIERS[name]] for name, value in found.items()},
    )


def record_list(request: HttpRequest, rows: Iterable[Model], *, kind: str, search: str) -> None:
    """Write down that a list was shown: which rows, and what was searched for.

    A list of one patient alone is found by that patient; the others by the ECGs they show.
    """
    shown = list(rows)
    found = [_identify(row) for row in shown] if search else []
    one = {
        name: found[0][name]
        for name in ("patient_id", "accession_number")
        if found and all(each.get(name) == found[0].get(name) for each in found)
        and found[0].get(name)
    }  # fmt: skip
    record(
        Action.LISTED,
        request=request,
        subject=f"{kind}s",
        search=search,
        shown=[row.pk for row in shown],
        ecgs=sorted(_ecgs_of(shown)),
        **one,
    )


def record_small_picture(request: HttpRequest, instance: Instance) -> None:
    """Write down a look at a small picture, unless a list that showed it was written down."""
    lists = Deed.objects.filter(
        actor=request.user.get_username(),
        action=Action.LISTED,
        subject="instances",
        at__gte=timezone.now() - ONE_LIST,
    )
    if not any(instance.pk in detail["shown"] for detail in lists.values_list("detail", flat=True)):
        record(Action.VIEWED, request=request, subject=instance)


def _command() -> str:
    """Return the command of manage.py that runs; empty in every other process."""
    program, *words = sys.argv or [""]
    return f"manage.py {words[0]}" if Path(program).name == "manage.py" and words else ""


def is_of_patient(row: Model) -> bool:
    """Return whether a row leads to a patient."""
    return bool(_identify(row))


def named(row: Model) -> str:
    """Return kind and number of a row, as the trail names it."""
    return f"{row._meta.model_name} {row.pk}"


def client_address(request: HttpRequest) -> str:
    """Return where a request came from, past the proxies that are ours.

    Each proxy appends whom it heard it from, so with one of ours the last entry is true and what
    stands before it may have been made up by the client.
    """
    if settings.ECG_PROXIES:
        heard = request.headers.get("X-Forwarded-For", "").split(",")
        nearest = heard[-settings.ECG_PROXIES :][0].strip()
        if nearest:
            return nearest
    return str(request.META.get("REMOTE_ADDR", ""))


_IDENTIFIERS: Final = {"patient_id": 128, "accession_number": 64, "uid": 64}


def _identify(row: Model) -> dict[str, str]:
    """Return patient, accession number and UID of what a row is about, as far as it leads there."""
    uid = getattr(row, "sop_instance_uid", "")
    about: Any = row
    for step in ("report", "instance"):
        about = getattr(about, step, None) or about
    study = about if isinstance(about, Study) else getattr(about, "study", None)
    if not isinstance(about, Instance | Study):
        return {}
    if isinstance(about, Instance):
        uid = uid or about.sop_instance_uid
    if study is None:
        return {"uid": uid}
    return {
        "patient_id": study.patient_id,
        "accession_number": study.accession_number,
        "uid": uid or study.study_instance_uid,
    }


def _ecgs_of(rows: Iterable[Model]) -> set[int]:
    """Return the ECGs that rows lead to."""
    found: set[int] = set()
    studies = []
    for row in rows:
        if isinstance(row, Instance):
            found.add(row.pk)
        elif isinstance(row, Study):
            studies.append(row.pk)
        elif number := getattr(getattr(row, "report", row), "instance_id", None):
            found.add(number)
    if studies:
        found.update(Instance.objects.filter(study__in=studies).values_list("pk", flat=True))
    return found


def _was_seen(actor: str, subject: str, detail: dict[str, Any]) -> bool:
    lately = Deed.objects.filter(actor=actor, at__gte=timezone.now() - ONE_LOOK)
    return lately.filter(action=Action.VIEWED, subject=subject, detail=detail).exists()


# --- people who come and go -----------------------------------------------------------------------


def _signed_in(request: HttpRequest, user: Any, **_: Any) -> None:
    record(Action.SIGNED_IN, request=request, actor=user.get_username(), subject=user)


def _signed_out(request: HttpRequest, user: Any, **_: Any) -> None:
    if user is not None:
        record(Action.SIGNED_OUT, request=request, actor=user.get_username(), subject=user)


def _failed(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    # What was typed is kept only where it is a user's name: people type passwords there, too.
    from django.contrib.auth.models import User

    user = User.objects.filter(username=str(credentials.get("username", ""))).first()
    name = user.get_username() if user else ""
    record(Action.SIGN_IN_FAILED, request=request, actor=name, subject=user, is_known=bool(user))


def _roles_changed(
    instance: Model, action: str, pk_set: set[int] | None, model: type[Model], **_: Any
) -> None:
    verb = {"post_add": "added", "post_remove": "removed", "pre_clear": "cleared"}.get(action)
    if verb is None or (action != "pre_clear" and not pk_set):
        return
    rows = model._default_manager.filter(pk__in=pk_set or ())
    detail: dict[str, Any] = {verb: sorted(str(row) for row in rows)}
    record(Action.ROLES_CHANGED, subject=instance, **detail)


def _locked_out(request: HttpRequest, username: str, **_: Any) -> None:
    from django.contrib.auth.models import User

    user = User.objects.filter(username=username).first()
    name = user.get_username() if user else ""
    record(Action.LOCKED_OUT, request=request, actor=name, subject=user, is_known=bool(user))


def _password_changed(instance: Any, created: bool, **_: Any) -> None:
    # Set anew, not hashed anew at a login: Django forgets the clear text after saving.
    if not created and instance._password is not None:
        record(Action.PASSWORD_CHANGED, subject=instance)


def connect() -> None:
    """Have the deeds that Django tells of by signals written down."""
    from django.contrib.auth.models import Group, User

    user_logged_in.connect(_signed_in, dispatch_uid="audit.signed_in")
    user_logged_out.connect(_signed_out, dispatch_uid="audit.signed_out")
    user_login_failed.connect(_failed, dispatch_uid="audit.failed")
    user_locked_out.connect(_locked_out, dispatch_uid="audit.locked_out")
    post_save.connect(_password_changed, sender=User, dispatch_uid="audit.password")
    for table in (User.groups.through, User.user_permissions.through, Group.permissions.through):
        m2m_changed.connect(_roles_changed, sender=table, dispatch_uid=f"audit.{table.__name__}")
