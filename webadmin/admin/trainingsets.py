"""Training sets: what would be frozen, what is in each, and what of it may leave the house."""

from __future__ import annotations

import secrets
import tempfile
import threading
import zipfile
from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from dicom_node.errors import ImageError
from gateway import spool
from models.labels import KEYS
from models.page import NotReadable
from webadmin import export, masking, trainingsets, words
from webadmin.admin.screen import MachineFacts, short_uid
from webadmin.guard import person
from webadmin.models import TrainingItem, TrainingSet

FREEZE: Final = "webadmin.freeze_trainingset"
EXPORT: Final = "webadmin.export_trainingset"
LOOK: Final = "gateway.view_instance"

MAX_AT_DESK: Final = 200
"""A larger set is exported by command: a browser would wait too long."""

_SHOWN: Final = 5
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The time that each file of an archive bears; when it was made is nobody's business."""

_AT_ONCE = threading.BoundedSemaphore(1)


@admin.register(TrainingSet)
class TrainingSetAdmin(MachineFacts[TrainingSet]):
    """One line a set. A set is frozen here or by command, and never changed."""

    noun = gettext_lazy("Training set")
    change_form_template = "webadmin/trainingset.html"
    list_before_template = "webadmin/trainingsets_before.html"
    list_display = ("name", "frozen_at", "frozen_by", "ecgs", "tests", "openings_", "digest")
    search_fields = ("^name", "^sha256")
    search_help_text = gettext_lazy("Name, SHA-256")
    list_select_related = ("frozen_by",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[TrainingSet]:
        return super().get_queryset(request).annotate(opening_count=Count("openings"))

    @admin.display(description=gettext_lazy("ECGs"))
    def ecgs(self, row: TrainingSet) -> int:
        return sum(split["ecgs"] for split in row.counts.values())

    @admin.display(description=gettext_lazy("in the test split"))
    def tests(self, row: TrainingSet) -> int:
        return int(row.counts[TrainingItem.Split.TEST]["ecgs"])

    @admin.display(description=gettext_lazy("test split opened"), ordering="opening_count")
    def openings_(self, row: TrainingSet) -> int:
        return row.opening_count  # type: ignore[attr-defined,no-any-return]

    @admin.display(description=gettext_lazy("SHA-256 of the items"))
    def digest(self, row: TrainingSet) -> SafeString:
        return short_uid(row.sha256)

    def page(self, request: HttpRequest, row: TrainingSet) -> dict[str, Any]:
        return {
            "training_set": row,
            "heading": row.name,
            "counts": counts(row.counts),
            "missing": trainingsets.missing(row),
            "openings": row.openings.all(),
            "may_export": _may_export(request),
            "runs": row.runs.count(),
        }

    # --- what else it answers -------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        inside = self.admin_site.admin_view
        return [
            path("freeze/", inside(require_http_methods(["GET", "POST"])(self.freeze_view)),
                 name="webadmin_trainingset_freeze"),
            path("<int:pk>/preview/", inside(require_safe(self.preview_view)),
                 name="webadmin_trainingset_preview"),
            path("<int:pk>/tracing/<int:item>/", inside(require_safe(self.tracing_view)),
                 name="webadmin_trainingset_tracing"),
            path("<int:pk>/export/", inside(require_POST(self.export_view)),
                 name="webadmin_trainingset_export"),
            *super().get_urls(),
        ]  # fmt: skip

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, with the way to a new set."""
        doors = {"may_freeze": request.user.has_perm(FREEZE)}
        return super().changelist_view(request, {**(extra_context or {}), **doors})

    def freeze_view(self, request: HttpRequest) -> HttpResponse:
        """Show what would be frozen and what is missing; freeze it once it has a name."""
        if not request.user.has_perm(FREEZE):
            raise PermissionDenied
        name, note = request.POST.get("name", ""), request.POST.get("note", "")
        if request.method == "POST":
            try:
                frozen = trainingsets.freeze(name, person(request), note=note)
            except trainingsets.NotFrozen as error:
                messages.error(request, _("Not frozen: %s.") % error)
            else:
                messages.success(request, _("Frozen: it will never change."))
                return redirect("admin:webadmin_trainingset_change", frozen.pk)
        plan = trainingsets.plan()
        context = {
            **self.admin_site.each_context(request),
            "title": _("Freeze a training set"),
            "opts": self.opts,
            "total": len(plan.items),
            "counts": counts(plan.counts),
            "missing": plan.missing,
            "left_out": plan.left_out.items(),
            "same": TrainingSet.objects.filter(sha256=plan.sha256).first(),
            "name": name,
            "note": note,
        }
        return TemplateResponse(request, "webadmin/trainingset_freeze.html", context)

    def preview_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show a few ECGs as they are and as they would leave, drawn anew each time."""
        training_set = self._exportable(request, pk)
        ids = list(trainingsets.open_items(training_set).values_list("pk", flat=True))
        drawn = secrets.SystemRandom().sample(ids, min(_SHOWN, len(ids)))
        total, with_test = (export.count(training_set, with_test=test) for test in (False, True))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Export of training set %d") % pk,
            "opts": self.opts,
            "training_set": training_set,
            "items": TrainingItem.objects.filter(pk__in=drawn),
            "total": total,
            "locked": with_test - total,
            "is_too_large": total > MAX_AT_DESK,
            "max": MAX_AT_DESK,
        }
        return TemplateResponse(request, "webadmin/trainingset_preview.html", context)

    def tracing_view(self, request: HttpRequest, pk: int, item: int) -> HttpResponse:
        """Answer with what would leave of one ECG."""
        rows = trainingsets.open_items(self._exportable(request, pk))
        row = get_object_or_404(rows, pk=item)
        try:
            png = masking.to_png(export.tracing(row.instance).grey)
        except NotReadable as refusal:
            reason = _("It does not leave: %s.") % refusal.reason
            return HttpResponse(reason, status=422, content_type="text/plain; charset=utf-8")
        except (ImageError, spool.SpoolError):
            reason = _("It does not leave: its picture cannot be opened any more.")
            return HttpResponse(reason, status=422, content_type="text/plain; charset=utf-8")
        answer = HttpResponse(png, content_type="image/png")
        answer["Cache-Control"] = "private, no-store"
        return answer

    def export_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Answer with the export as an archive; the test split is in it only for a purpose."""
        training_set = self._exportable(request, pk)
        purpose = request.POST.get("purpose", "").strip()
        back = redirect(reverse("admin:webadmin_trainingset_preview", args=[pk]))
        if "looked" not in request.POST:
            messages.error(request, _("Look at the pictures first, and say so."))
            return back
        if export.count(training_set, with_test=bool(purpose)) > MAX_AT_DESK:
            messages.error(request, _("Too many for a browser: use manage.py trainingset export."))
            return back
        if not _AT_ONCE.acquire(blocking=False):
            messages.error(request, _("Another export is being made; try again in a minute."))
            return back
        try:
            file = tempfile.TemporaryFile(dir=spool.incoming())  # noqa: SIM115 (the answer closes it)
            try:
                _archive(training_set, file, actor=person(request).get_username(), purpose=purpose)
            except BaseException:
                file.close()
                raise
        except export.NotExported as error:
            messages.error(request, str(error))
            return back
        finally:
            _AT_ONCE.release()
        file.seek(0)
        answer = FileResponse(file, as_attachment=True, filename=f"training-set-{pk}.zip")
        answer["Cache-Control"] = "no-store"
        return answer

    def _exportable(self, request: HttpRequest, pk: int) -> TrainingSet:
        if not _may_export(request):
            raise PermissionDenied
        return get_object_or_404(TrainingSet, pk=pk)


def counts(of: dict[str, dict[str, int]]) -> dict[str, Any]:
    """Return the counts of the splits as rows of a table; each figure with whether it is enough."""
    splits = list(TrainingItem.Split)
    enough = {
        TrainingItem.Split.TRAINING: trainingsets.ENOUGH_TRAINING,
        TrainingItem.Split.TEST: trainingsets.ENOUGH_TEST,
    }
    return {
        "splits": [split.label for split in splits],
        "totals": [
            (name, [of[split].get(key, 0) for split in splits])
            for key, name in (("ecgs", _("ECGs")), ("patients", _("Patients")))
        ],
        "findings": [
            (
                str(words.MEANINGS[key]),
                [
                    (of[split].get(key, 0), of[split].get(key, 0) >= enough.get(split, 0))
                    for split in splits
                ],
            )
            for key in KEYS
        ],
    }


def _archive(training_set: TrainingSet, file: Any, *, actor: str, purpose: str) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        export.write(
            training_set,
            lambda name, content: archive.writestr(zipfile.ZipInfo(name, _EPOCH), content),
            actor=actor,
            test_purpose=purpose,
        )


def _may_export(request: HttpRequest) -> bool:
    return request.user.has_perm(EXPORT) and request.user.has_perm(LOOK)
