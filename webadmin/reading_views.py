"""The reading list and the reading page: look, judge by a key or a touch, and go on to the next.

Addresses carry row numbers and filters, never what identifies a patient; what a person says goes in
the body of a POST.
"""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from gateway.models import Instance
from models.labels import KEYS, LABELS
from webadmin import audit, curation, labelling, reading, reading_list, words
from webadmin.bars import bars_of
from webadmin.callipers import calibration_of
from webadmin.guard import guarded, person
from webadmin.models import Assignment, Reading
from webadmin.reading_list import Wanted
from webadmin.reading_maps import map_view

LOOK: Final = "gateway.view_instance"
JUDGE: Final = "webadmin.add_reading"
_LATEST_SHOWN: Final = 6


def urls() -> list[URLPattern]:
    """Return the addresses of reading, for those who may look at ECGs."""
    both = require_http_methods(["GET", "POST"])
    return [
        path("", guarded(LOOK, require_safe(list_view)), name="reading_list"),
        path("<int:pk>/", guarded(LOOK, both(page_view)), name="reading"),
        path("<int:pk>/map/<str:key>/", guarded(LOOK, both(map_view)), name="reading_map"),
    ]


# --- the list ------------------------------------------------------------------------------------


def list_view(request: HttpRequest) -> HttpResponse:
    """Show what is to be read, as cards."""
    user, wanted = person(request), Wanted.of(request.GET)
    number = _number(request.GET.get("after"))
    after = None if number is None else Instance.objects.filter(pk=number).first()
    rows = reading_list.listed(user, wanted, after=after, count=reading_list.PAGE_ROWS + 1)
    shown = rows[: reading_list.PAGE_ROWS]
    detailed = {row.pk: row for row in reading_list.with_details(shown)}
    cards = [_card(detailed[row.pk]) for row in shown]
    senders = Instance.objects.order_by("calling_title").values_list("calling_title", flat=True)
    audit.record_list(request, shown, kind="instance", search="")
    context = {
        **admin.site.each_context(request),
        "title": _("Reading list"),
        "cards": cards,
        "wanted": wanted,
        "query": wanted.query(),
        "more": wanted.query(after=shown[-1].pk) if len(rows) > len(shown) else "",
        "is_later_page": after is not None,
        "senders": senders.distinct(),
        "findings": list(words.MEANINGS.items()),
        "notice": words.NOTICE,
        "may_judge": user.has_perm(JUDGE),
    }
    return TemplateResponse(request, "webadmin/reading_list.html", context)


def _card(row: Any) -> dict[str, Any]:
    found = [one for one in row.seen_findings if one.model_version_id == row.model_version_id]
    readings: list[Reading] = row.routine_readings
    return {
        "row": row,
        "findings": [words.finding(one) for one in found],
        "is_urgent": row.is_urgent,
        "is_disputed": any(one.decision == Reading.Decision.OVERRIDDEN for one in readings),
        "reading": readings[0] if readings else None,
        "more_readings": len(readings) - 1,
    }


# --- the page ------------------------------------------------------------------------------------


def page_view(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one ECG to be read; or take what was said of it, and go on to the next."""
    user, wanted = person(request), Wanted.of(request.GET)
    instance = get_object_or_404(Instance.objects.select_related("study", "model_version"), pk=pk)
    assignment = _assignment(request, user, instance)
    if assignment is not None and assignment.kind == Assignment.Kind.ADJUDICATION:
        # There neither the network nor the names of the two are seen.
        return redirect("adjudicate", assignment.pk)
    if assignment is None and (taken := reading_list.taken_by(user, pk)):
        return redirect(f"{reverse('reading', args=[pk])}?assignment={taken.pk}")
    if request.method == "POST":
        return _take(request, user, instance, assignment, wanted)
    is_blinded = assignment is not None
    looked_for: dict[str, Any] = {}
    if assignment is not None:
        looked_for[curation.FOR_A_READING] = assignment.pk
    audit.record(audit.Action.VIEWED, request=request, subject=instance, **looked_for)
    context = {
        **admin.site.each_context(request),
        "title": _("Reading of ECG %d") % pk,
        "instance": instance,
        "assignment": assignment,
        "is_blinded": is_blinded,
        "calibration": calibration_of(instance),
        "notice": words.NOTICE,
        "pages": [one["number"] for one in instance.pages] if len(instance.pages) > 1 else [],
        **_judgement(user, instance, is_blinded=is_blinded),
        **_neighbours(user, instance, wanted, assignment),
    }
    if not is_blinded:
        context |= _shown(instance)
    return TemplateResponse(request, "webadmin/reading.html", context)


def _assignment(request: HttpRequest, user: User, instance: Instance) -> Assignment | None:
    """Return the reading that was wanted, where the address names one of this person's."""
    number = _number(request.GET.get("assignment"))
    if number is None:
        return None
    found = get_object_or_404(Assignment, pk=number, instance=instance)
    if found.taken_by_id not in (None, user.pk):
        raise PermissionDenied
    return found


def _judgement(user: User, instance: Instance, *, is_blinded: bool) -> dict[str, Any]:
    """Return what the form of a judgement needs."""
    said = {} if is_blinded else reading.network_words(instance)
    may_verify = user.has_perm(reading.VERIFY)
    return {
        "may_judge": user.has_perm(JUDGE) and (is_blinded or bool(said)),
        "may_verify": may_verify and not is_blinded,
        "unverifiable": reading.unverifiable(user) if may_verify else "",
        "verifier": reading.person_name(user).replace("^", ", "),
        "toggles": [
            (number, label.key, _(label.meaning), said.get(label.key, ""))
            for number, label in zip("1234567890", LABELS, strict=True)
        ],
        "answers": Reading.Word.choices,
    }


def _shown(instance: Instance) -> dict[str, Any]:
    """Return what only those see who do not read blinded."""
    readings = list(instance.readings.select_related("reader", "shown"))
    label = labelling.label_of(instance)
    found = instance.findings.filter(model_version_id=instance.model_version_id)
    noticed = [row for row in found if row.verdict != row.Verdict.ABSENT]
    return {
        "bars": bars_of(instance),
        "found": [words.finding(row) for row in noticed],
        "maps": [(row.key, words.MEANINGS.get(row.key, row.key)) for row in noticed],
        "readings": [(one, words.said(one.findings)) for one in readings[:_LATEST_SHOWN]],
        "latest": readings[0].pk if readings else "",
        "label": label,
        "label_words": words.said(label.findings) if label else [],
        "is_urgent": reading_list.is_urgent(instance),
    }


def _neighbours(
    user: User, instance: Instance, wanted: Wanted, assignment: Assignment | None
) -> dict[str, Any]:
    if assignment is not None:
        return {"next": None, "previous": None, "query": ""}
    return {
        "next": reading_list.next_for(user, wanted, after=instance),
        "previous": reading_list.before(user, wanted, instance),
        "query": wanted.query(),
    }


# --- what was said -------------------------------------------------------------------------------


def _take(
    request: HttpRequest,
    user: User,
    instance: Instance,
    assignment: Assignment | None,
    wanted: Wanted,
) -> HttpResponse:
    if not user.has_perm(JUDGE):
        raise PermissionDenied
    said = request.POST
    try:
        with transaction.atomic():
            _same_as_seen(request, instance, assignment)
            reading.record(
                instance,
                user,
                decision=said.get("decision", ""),
                findings=_findings(request),
                shown=instance.model_version if assignment is None else None,
                assignment=assignment,
                comment=said.get("comment", ""),
                took_s=_seconds(said.get("took_s")),
                verify="verify" in said,
            )
    except reading.NotRecorded as refusal:
        messages.error(request, str(refusal))
        return redirect(request.get_full_path())
    messages.success(request, _("ECG %(number)s: saved.") % {"number": instance.pk})
    if assignment is not None:
        return redirect("reading_list")
    following = reading_list.next_for(user, wanted, after=instance)
    if following is None:
        return redirect(_address(reverse("reading_list"), wanted.query()))
    return redirect(_address(reverse("reading", args=[following.pk]), wanted.query()))


def _address(path: str, query: str) -> str:
    return f"{path}?{query}" if query else path


def _same_as_seen(request: HttpRequest, instance: Instance, assignment: Assignment | None) -> None:
    """Hold the ECG, and refuse what was said of it as it was before: twice is once.

    Raises
    ------
    NotRecorded
        Somebody has read it since the page was shown, or the network has read it anew.
    """
    held = Instance.objects.select_for_update(no_key=True).get(pk=instance.pk)
    if assignment is not None:
        return
    latest = held.readings.values_list("pk", flat=True).first()
    seen = (request.POST.get("latest", ""), request.POST.get("shown", ""))
    if seen != (str(latest or ""), str(held.model_version_id or "")):
        raise reading.NotRecorded(
            _("This ECG was read meanwhile: look at what was said, then judge again.")
        )


def _findings(request: HttpRequest) -> dict[str, str] | None:
    """Return the ten words of the form; None: it has none, as where nothing was opened."""
    said = {key: request.POST[f"finding_{key}"] for key in KEYS if f"finding_{key}" in request.POST}
    return said or None


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 19 else None


def _seconds(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0.0 <= value < float("inf") else None
