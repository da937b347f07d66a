"""Curation at the Desk: the queues, the next reading, the third opinion, and how far all agree.

What a page does is done by :mod:`webadmin.curation`; the reading page is :mod:`webadmin.reading`'s.
Whoever adjudicates sees what two people said and not who they are, nor what the network found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from gateway.models import Instance
from models.labels import KEYS
from webadmin import agreement, audit, curation, labelling, preview, queues, reading, words
from webadmin.guard import guarded, person
from webadmin.models import Assignment, Guideline, Label, Reading
from webadmin.queues import BLINDED, Kind, Queue

VIEW: Final = "webadmin.view_assignment"
FILL: Final = "webadmin.add_assignment"
COMPARE: Final = "webadmin.view_reading"
LOOK: Final = "gateway.view_instance"

_READERS_SHOWN: Final = 20


def urls() -> list[URLPattern]:
    """Return the addresses of curation."""
    return [
        path("", guarded(VIEW, require_safe(overview)), name="curation"),
        path("take/", guarded(VIEW, require_POST(take)), name="curation_take"),
        path("release/<int:pk>/", guarded(VIEW, require_POST(release)), name="curation_release"),
        path("fill/", guarded(FILL, require_POST(fill)), name="curation_fill"),
        path("request/", guarded(FILL, require_POST(request_ecg)), name="curation_request"),
        path("agreement/", guarded(COMPARE, require_safe(agreement_page)), name="agreement"),
        path("adjudicate/<int:pk>/",
             guarded(curation.ADJUDICATE, require_http_methods(["GET", "POST"])(adjudicate)),
             name="adjudicate"),
    ]  # fmt: skip


# --- the queues ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class QueueLine:
    """One queue: how many ECGs wait for two readings, and for a third; how many are through."""

    name: str
    title: str
    why: str
    waiting: int
    to_adjudicate: int
    done: int
    free: int
    free_to_adjudicate: int

    @property
    def share(self) -> int:
        """How much of it is read, in percent."""
        every = self.waiting + self.done
        return round(100 * self.done / every) if every else 0


def overview(request: HttpRequest) -> HttpResponse:
    """Show each queue, who reads, and how many labels there are."""
    user = person(request)
    held = Assignment.objects.filter(done_at=None, taken_until__gt=timezone.now())
    labels = dict(Label.objects.order_by().values_list("source").annotate(count=Count("pk")))
    lines = _queue_lines(user)
    context = {
        **admin.site.each_context(request),
        "title": _("Curation"),
        "queues": lines,
        "is_empty": not any(line.waiting or line.done for line in lines),
        "mine": held.filter(taken_by=user).order_by("pk").first(),
        "readers": held.select_related("taken_by").order_by("taken_until")[:_READERS_SHOWN],
        "labels": [(source.label, labels.get(source, 0)) for source in Label.Source],
        "guideline": Guideline.objects.first(),
        "may_read": user.has_perm(curation.READ) and user.has_perm("gateway.view_instance"),
        "may_adjudicate": user.has_perm(curation.ADJUDICATE),
        "may_fill": user.has_perm(FILL),
        "may_compare": user.has_perm(COMPARE),
        "adjudication": Kind.ADJUDICATION.value,
    }
    return TemplateResponse(request, "webadmin/curation.html", context)


def _queue_lines(user: User) -> list[QueueLine]:
    blinded, third = Q(kind__in=BLINDED), Q(kind=Kind.ADJUDICATION)
    is_open = Q(done_at=None)
    rows = Assignment.objects.order_by().values("queue").annotate(
        ecgs=Count("instance", distinct=True, filter=blinded),
        waiting=Count("instance", distinct=True, filter=blinded & is_open),
        third=Count("pk", filter=third & is_open),
    )  # fmt: skip
    counted = {row["queue"]: row for row in rows}
    free, free_third = (
        dict(
            curation.free(user, kinds=kinds)
            .order_by()
            .values_list("queue")
            .annotate(count=Count("instance", distinct=True))
        )
        for kinds in (BLINDED, (Kind.ADJUDICATION,))
    )
    why = {
        Queue.RANDOM: _("A tenth of all ECGs, drawn: the fair sample that figures come from."),
        Queue.DISAGREEMENT: _("A reader contradicts what the network found."),
        Queue.UNDETERMINED: _("The network is undecided; the nearest to a threshold first."),
        Queue.RARE: _("A finding that few ECGs show is there, or may be."),
        Queue.UNFAMILIAR: _("At the edge of what the network knows, or refused beyond it."),
        Queue.REQUESTED: _("Somebody wants these to be read, before all others."),
    }
    lines = []
    for queue in why:
        row = counted.get(queue, {"ecgs": 0, "waiting": 0, "third": 0})
        lines.append(
            QueueLine(
                queue.value, str(queue.label), why[queue], row["waiting"], row["third"],
                row["ecgs"] - row["waiting"], free.get(queue, 0), free_third.get(queue, 0),
            )
        )  # fmt: skip
    return lines


def take(request: HttpRequest) -> HttpResponse:
    """Take the next reading and go to it."""
    queue, kind = request.POST.get("queue", ""), request.POST.get("kind", "")
    if queue and queue not in Queue.values:
        queue = ""
    found = curation.take(person(request), queue=queue, kind=kind)
    if found is None:
        messages.info(request, _("Nothing waits for you here: others have it, or you read it."))
        return redirect("curation")
    return redirect(page_of(found))


def page_of(assignment: Assignment) -> str:
    """Return where an assignment is done."""
    if assignment.kind == Kind.ADJUDICATION:
        return reverse("adjudicate", args=[assignment.pk])
    return f"{reverse('reading', args=[assignment.instance_id])}?assignment={assignment.pk}"


def release(request: HttpRequest, pk: int) -> HttpResponse:
    """Give a reading back."""
    if curation.release(get_object_or_404(Assignment, pk=pk), person(request)):
        messages.success(request, _("Given back: somebody else may take it."))
    return redirect("curation")


def fill(request: HttpRequest) -> HttpResponse:
    """Fill the queues now, as the sweep does every few minutes."""
    count = sum(curation.fill().values())
    audit.record(audit.Action.ADDED, request=request, subject="assignments", ecgs=count)
    messages.success(request, _("%d ECGs came into the queues.") % count)
    return redirect("curation")


def request_ecg(request: HttpRequest) -> HttpResponse:
    """Want one ECG to be read by two people."""
    number = request.POST.get("ecg", "").strip()
    row = Instance.objects.filter(pk=int(number)).first() if number.isdecimal() else None
    if row is None or row.aged_out_at is not None:
        messages.error(request, _("There is no ECG of this number whose picture is here."))
    elif curation.request([row]):
        audit.record(audit.Action.ADDED, request=request, subject=row, queue="requested")
        messages.success(request, _("Two people are asked to read it."))
    else:
        messages.info(request, _("It was requested before."))
    return redirect("curation")


# --- the third opinion ---------------------------------------------------------------------------


def adjudicate(request: HttpRequest, pk: int) -> HttpResponse:
    """Show what two readers said of an ECG, without their names; take what a third decides."""
    user = person(request)
    if not user.has_perm(LOOK):
        raise PermissionDenied
    rows = Assignment.objects.select_related("instance")
    assignment = get_object_or_404(rows, pk=pk, kind=Kind.ADJUDICATION)
    try:
        curation.check(assignment, user)
    except curation.NotYours as error:
        messages.warning(request, _("Not yours to decide: %s.") % error)
        return redirect("curation")
    said: dict[str, str] = {}
    if request.method == "POST":
        said = {key: request.POST.get(key, "") for key in KEYS}
        if _decide(request, assignment, user, said):
            return redirect("curation")
    looked_for: dict[str, Any] = {curation.FOR_A_READING: assignment.pk}
    audit.record(audit.Action.VIEWED, request=request, subject=assignment.instance, **looked_for)
    pair = curation.pair_of(assignment)
    context = {
        **admin.site.each_context(request),
        "title": _("Adjudication of ECG %d") % assignment.instance_id,
        "assignment": assignment,
        "instance": assignment.instance,
        "outline": preview.outline(assignment.instance.region),
        "readings": [(letter, one) for letter, one in zip("AB", pair, strict=False)],
        "lines": [_adjudication_line(key, pair, said.get(key, "")) for key in KEYS],
        "words": [(word.value, str(word.label)) for word in Reading.Word],
        "comment": request.POST.get("comment", ""),
        "until": assignment.taken_until,
    }
    return TemplateResponse(request, "webadmin/adjudicate.html", context)


def _adjudication_line(key: str, pair: list[Reading], chosen: str) -> dict[str, Any]:
    both = [
        "" if one.decision == Reading.Decision.UNREADABLE else str(one.findings.get(key, ""))
        for one in pair
    ]
    agreed = both[0] if len(set(both)) == 1 else ""
    return {
        "key": key,
        "meaning": str(words.MEANINGS[key]),
        "said": [labelling.badge(key, word) for word in both],
        "differs": not agreed,
        "chosen": chosen or agreed,
    }


def _decide(request: HttpRequest, assignment: Assignment, user: User, said: dict[str, str]) -> bool:
    is_unreadable = "unreadable" in request.POST
    decision = Reading.Decision.UNREADABLE if is_unreadable else Reading.Decision.BLINDED
    if not is_unreadable and (wrong := labelling.faults(said)):
        messages.error(request, _("Decide each of the ten: %s.") % "; ".join(wrong))
        return False
    began = assignment.taken_until - curation.TAKEN if assignment.taken_until else None
    try:
        reading.record(
            assignment.instance,
            user,
            decision=decision,
            findings=said,
            assignment=assignment,
            comment=request.POST.get("comment", ""),
            took_s=(timezone.now() - began).total_seconds() if began else None,
        )
    except (reading.NotRecorded, curation.NotYours) as error:
        messages.error(request, str(error))
        return False
    messages.success(request, _("ECG %d is decided.") % assignment.instance_id)
    return True


# --- agreement -----------------------------------------------------------------------------------


def agreement_page(request: HttpRequest) -> HttpResponse:
    """Show how far readers agree, and how right a network is on ECGs drawn at random."""
    pair = request.GET.get("pair", "")
    versions = agreement.versions()
    wanted = request.GET.get("model", "")
    version = next((one for one in versions if str(one.pk) == wanted), None) or (
        versions[0] if versions else None
    )
    context = {
        **admin.site.each_context(request),
        "title": _("Agreement of readers"),
        "agreement": agreement.agreement(pair),
        "pair": pair,
        "versions": versions,
        "version": version,
        "figures": agreement.figures(version) if version else [],
        "window": agreement.PAIRS_LOOKED_AT,
        "waiting": queues.WAITING_A_QUEUE,
    }
    return TemplateResponse(request, "webadmin/agreement.html", context)
