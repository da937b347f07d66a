"""Add an ECG: a screenshot, photograph, PDF or DICOM file, for one patient and order.

The person says whose it is, the worklist says who that is, the person confirms, and only then
files go up: the confirmed order travels as a signed ticket that comes back with each file, so no
order can be put together in the browser. A file's bytes are the whole body of a request: they are
written to disk as they come, up to a limit, and the rest of what is said about them stays out of
addresses, which are logged.
"""

from __future__ import annotations

import json
import tempfile
import threading
from pathlib import Path
from typing import Any, Final

import structlog
from django.contrib import admin
from django.core import signing
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from dicom_node.order import SEXES, Order
from dicom_node.reception import PART_SUFFIX
from gateway import handing_in, intake, lookups, spool
from gateway.models import Door, Instance, Peer
from gateway.states import WAITING, State
from webadmin import audit, reading_list, words
from webadmin.bars import bars_of
from webadmin.guard import guarded, person
from webadmin.templatetags import desk

log = structlog.get_logger(__name__)

PERMISSION: Final = "gateway.add_instance"
MAX_BYTES: Final = handing_in.MAX_PICTURE_BYTES
TICKET_S: Final = 3600

_SALT: Final = "webadmin.upload"
_CHUNK_BYTES: Final = 1 << 18
_FIELDS: Final = {
    "patient_id": "patient_id",
    "accession_number": "accession",
    "patient_name": "name",
    "patient_birth_date": "birth_date",
    "patient_sex": "sex",
}
"""The fields of an order by the names they have in the form."""

_AT_ONCE = threading.BoundedSemaphore(1)
"""A page at 600 dpi takes a few hundred megabytes while it is made an object."""

_PATIENCE_S: Final = 60.0
"""How long a file waits for others that are being made objects."""


def urls() -> list[URLPattern]:
    """Return the addresses of this page, for those who may add ECGs."""
    return [
        path("", guarded(PERMISSION, require_safe(page)), name="upload"),
        path("patient/", guarded(PERMISSION, require_POST(patient)), name="upload_patient"),
        path("patient/answer/", guarded(PERMISSION, require_POST(found)), name="upload_found"),
        path("file/", guarded(PERMISSION, require_POST(file)), name="upload_file"),
        path("<int:pk>/", guarded(PERMISSION, require_safe(result)), name="upload_result"),
    ]


def page(request: HttpRequest) -> HttpResponse:
    """Show the page; everything it does is asked for by its script."""
    context = {
        **admin.site.each_context(request),
        "title": _("Add an ECG"),
        "has_worklist": Peer.objects.filter(is_worklist=True).exists(),
        "sexes": SEXES,
        "max_bytes": MAX_BYTES,
        "notice": words.NOTICE,
    }
    return TemplateResponse(request, "webadmin/upload.html", context)


# --- whose it is ---------------------------------------------------------------------------------


def patient(request: HttpRequest) -> HttpResponse:
    """Take what was typed: a ticket for it, or the name of a question to the worklist."""
    values = {name: request.POST.get(field, "").strip() for name, field in _FIELDS.items()}
    values["patient_birth_date"] = values["patient_birth_date"].replace("-", "")
    typed = Order.from_values(values)
    asks = "without_worklist" not in request.POST and (
        Peer.objects.filter(is_worklist=True).exists()
    )
    faults = typed.faults()
    if asks and typed.accession_number:
        faults.pop("patient_id", None)
    if faults:
        return JsonResponse(
            {"faults": {_FIELDS[name]: fault for name, fault in faults.items()}}, status=400
        )
    if not asks:
        return JsonResponse({"orders": [_offer(request, typed, is_typed=True)], "problem": ""})
    try:
        name = lookups.ask(typed, asker=person(request).pk)
    except lookups.NotRung:
        problem = _("The worklist cannot be asked now: the gateway's broker is away.")
        return JsonResponse({"orders": [], "problem": problem})
    return JsonResponse({"lookup": name}, status=202)


def found(request: HttpRequest) -> HttpResponse:
    """Say what the worklist has: nothing yet (202), or orders, each with its ticket."""
    try:
        answer = lookups.answered(request.POST.get("lookup", ""), asker=person(request).pk)
    except KeyError:
        return JsonResponse({"orders": [], "problem": _("This question is too old: ask again.")})
    if answer is None:
        return JsonResponse({}, status=202)
    for order in answer.orders:
        audit.record(
            audit.Action.LOOKED_UP,
            request=request,
            patient_id=order.patient_id,
            accession_number=order.accession_number,
        )
    orders = [_offer(request, order) for order in answer.orders]
    return JsonResponse({"orders": orders, "problem": _sentence(answer.problem)})


def _offer(request: HttpRequest, order: Order, *, is_typed: bool = False) -> dict[str, Any]:
    """Return who and what an order is, as a card to look at, and the ticket for it.

    A later ticket for the same patient and order has the same key.
    """
    values = order.as_values()
    ticket = signing.dumps({"order": values, "user": person(request).pk}, salt=_SALT, compress=True)
    return {
        "ticket": ticket,
        "key": salted_hmac(_SALT, json.dumps(values, sort_keys=True)).hexdigest(),
        "patient": ", ".join(filter(None, (desk.person(order.patient_name), order.patient_id))),
        "html": render_to_string("webadmin/upload_order.html", {"o": order, "is_typed": is_typed}),
    }


def _order_of(request: HttpRequest) -> Order:
    """Return the order of a ticket.

    Raises
    ------
    BadSignature
        There is none, it is too old, or it is somebody else's.
    """
    ticket = request.headers.get("X-Order-Ticket", "")
    values = signing.loads(ticket, salt=_SALT, max_age=TICKET_S)
    if values["user"] != person(request).pk:
        raise signing.BadSignature("a ticket of another user")
    return Order.from_values(values["order"])


# --- a file --------------------------------------------------------------------------------------


def file(request: HttpRequest) -> HttpResponse:
    """Take one file, and say which ECG it is now; the reason when it is none."""
    try:
        order = _order_of(request)
    except signing.BadSignature:
        return _refusal(_("Confirm the patient again: that was too long ago."), status=403)
    try:
        intake.require()
        with tempfile.NamedTemporaryFile(dir=spool.incoming(), suffix=PART_SUFFIX) as part:
            if not _receive(request, part):
                limit = f"{MAX_BYTES >> 20} MB"
                return _refusal(_("Expected a file of at most %s.") % limit, status=413)
            part.flush()
            actor = f"user:{request.user.get_username()}"[:64]
            if not _AT_ONCE.acquire(timeout=_PATIENCE_S):
                return _refusal(_("The gateway is busy with other files; try again."), status=503)
            try:
                kept = handing_in.hand_in(
                    Path(part.name), order=order, door=Door.UPLOAD, actor=actor
                )
            finally:
                _AT_ONCE.release()
    except handing_in.NotTaken as error:
        return _refusal(_sentence(str(error)), status=422)
    except intake.IntakeShut as shut:
        return _refusal(_("Nothing is taken now: %s.") % shut, status=503)
    except MemoryError:
        return _refusal(_("The gateway is short of memory now; try again later."), status=503)
    except (DatabaseError, OSError) as error:
        log.error("upload not kept", error=repr(error))
        return _refusal(_("It could not be kept now; try again later."), status=503)
    row = kept.instance
    audit.record(audit.Action.UPLOADED, request=request, subject=row, is_new=kept.is_new)
    return JsonResponse(
        {
            "is_new": kept.is_new,
            "result": reverse("upload_result", args=[row.pk]),
        },
        status=201 if kept.is_new else 200,
    )


def _receive(request: HttpRequest, part: Any) -> bool:
    """Write the body to disk; False when it is longer than the limit."""
    count = 0
    while chunk := request.read(_CHUNK_BYTES):
        count += len(chunk)
        if count > MAX_BYTES:
            return False
        part.write(chunk)
    return True


def _sentence(text: str) -> str:
    """Return what an error says as a sentence for a page."""
    if not text:
        return ""
    end = "" if text.endswith((".", "?", ")")) else "."
    return f"{text[0].upper()}{text[1:]}{end}"


def _refusal(reason: str, *, status: int) -> HttpResponse:
    return JsonResponse({"reason": reason}, status=status)


# --- what came of it -----------------------------------------------------------------------------


def result(request: HttpRequest, pk: int) -> HttpResponse:
    """Say where an ECG is and what was found, as a piece of the page."""
    row = get_object_or_404(Instance.objects.select_related("study"), pk=pk)
    may_look = request.user.has_perm("gateway.view_instance") and not (
        reading_list.taken_by(person(request), pk)
    )
    if may_look:
        audit.record(audit.Action.VIEWED, request=request, subject=row)
    bars = bars_of(row) if may_look else []
    html = render_to_string(
        "webadmin/upload_result.html",
        {
            "instance": row,
            "badge": words.state(row.state),
            "notice": words.NOTICE,
            "bars": bars,
            "absent_count": sum(bar.badge.tone == "quiet" for bar in bars),
            "may_look": may_look,
            "is_rejected": row.state == State.REJECTED,
        },
        request=request,
    )
    return JsonResponse({"is_final": State(row.state) not in WAITING, "html": html})
