"""Reports: what we made of a result, as a tree, a page or a document to read, a file to keep."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe
from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from dicom_node.image import StoredImage
from dicom_node.report import tree
from gateway.models import Dispatch, Report
from gateway.outputs import Output
from gateway.retention import report_file
from gateway.spool import SpoolError
from webadmin import audit, preview, words
from webadmin.admin.screen import MachineFacts, short_uid
from webadmin.filters import DayRangeFilter, Dropdown


class KindFilter(Dropdown):
    """By the kind of document."""

    title = gettext_lazy("kind")
    parameter_name = "kind"

    def lookups(self, _request: HttpRequest, _admin: Any) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in Output.choices]

    def queryset(self, _request: HttpRequest, rows: QuerySet[Report]) -> QuerySet[Report]:
        return rows.filter(kind=self.value()) if self.value() else rows


@admin.register(Report)
class ReportAdmin(MachineFacts[Report]):
    """One line a document."""

    noun = gettext_lazy("Report")
    of_ecg = "instance"
    lists_patients = True
    change_form_template = "webadmin/report.html"
    list_display = ("composed_at", "kind_of", "language", "ecg", "accession", "where", "uid")
    list_filter = (KindFilter, ("composed_at", DayRangeFilter))
    search_fields = (
        "=sop_instance_uid",
        "=instance__sop_instance_uid",
        "^instance__study__accession_number",
        "^instance__study__patient_id",
    )
    search_help_text = gettext_lazy("Accession number, patient ID, UID")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Report]:
        rows = super().get_queryset(request).select_related("instance__study")
        return rows.prefetch_related("deliveries__peer", "dispatches__peer")

    @admin.display(description=gettext_lazy("kind"), ordering="kind")
    def kind_of(self, row: Report) -> str:
        return row.get_kind_display()

    @admin.display(description=gettext_lazy("ECG"), ordering="instance_id")
    def ecg(self, row: Report) -> SafeString:
        link = reverse("admin:gateway_instance_change", args=[row.instance_id])
        return format_html(
            '<a class="desk-link" href="{}">{}</a>', link, _("ECG %d") % row.instance_id
        )

    @admin.display(
        description=gettext_lazy("accession"), ordering="instance__study__accession_number"
    )
    def accession(self, row: Report) -> str:
        return (row.instance.study.accession_number if row.instance.study else "") or "–"

    @admin.display(description=gettext_lazy("stored at"))
    def where(self, row: Report) -> str:
        there = {d.peer.title for d in row.deliveries.all() if d.outcome in ("stored", "warning")}
        # Attempts may be aged out; what came of them is not.
        stored = Dispatch.Outcome.STORED
        there |= {d.peer.title for d in row.dispatches.all() if d.outcome == stored}
        return ", ".join(sorted(there)) or _("nowhere yet")

    @admin.display(description=gettext_lazy("SOP Instance UID"))
    def uid(self, row: Report) -> SafeString:
        return short_uid(row.sop_instance_uid)

    def page(self, _request: HttpRequest, row: Report) -> dict[str, Any]:
        content, problem = None, ""
        try:
            path = report_file(row)
            if row.kind not in (Output.RESULT_PAGE, Output.PDF):
                content = tree(dcmread(path))
        except (SpoolError, InvalidDicomError) as error:
            problem = str(error)
        return {
            "report": row,
            "heading": _("%(report)s of ECG %(number)d")
            % {"report": row.get_kind_display(), "number": row.instance_id},
            "notice": words.NOTICE,
            "tree": content,
            "tree_problem": problem,
            "deliveries": [
                (delivery, words.delivery(delivery.outcome)) for delivery in row.deliveries.all()
            ],
        }

    def get_urls(self) -> list[URLPattern]:
        inside = self.admin_site.admin_view
        return [
            path(
                "<int:pk>/file/",
                inside(require_safe(self.file_view)),
                name="gateway_report_file",
            ),
            path(
                "<int:pk>/look/",
                inside(require_safe(self.look_view)),
                name="gateway_report_look",
            ),
            *super().get_urls(),
        ]

    def file_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Answer with the document's file, exactly as it is sent to archives."""
        row = self._row(request, pk)
        try:
            path = report_file(row)
        except SpoolError as error:
            return _no_file(error)
        audit.record(audit.Action.DOWNLOADED, request=request, subject=row)
        # Read whole: a report is a few megabytes at most, and nothing is left open.
        return HttpResponse(
            path.read_bytes(),
            content_type="application/dicom",
            headers={
                "Content-Disposition": f'attachment; filename="report-{row.pk}-{row.kind}.dcm"'
            },
        )

    def look_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Answer with what a result page or a PDF report shows, as browsers show it."""
        row = self._row(request, pk)
        if row.kind not in (Output.RESULT_PAGE, Output.PDF):
            raise Http404
        try:
            path = report_file(row)
        except SpoolError as error:
            return _no_file(error)
        audit.record(audit.Action.VIEWED, request=request, subject=row)
        if row.kind == Output.PDF:
            content, kind = bytes(dcmread(path).EncapsulatedDocument), "application/pdf"
        else:
            with StoredImage(path) as stored:
                raster = stored.read(0)
            content, kind = preview.to_png(raster, longest_px=max(raster.shape[:2])), "image/png"
        headers = {"Content-Disposition": "inline", "Cache-Control": "private, no-cache"}
        return HttpResponse(content, content_type=kind, headers=headers)

    def _row(self, request: HttpRequest, pk: int) -> Report:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return get_object_or_404(self.get_queryset(request), pk=pk)


def _no_file(error: SpoolError) -> HttpResponse:
    return HttpResponse(str(error), status=404, content_type="text/plain; charset=utf-8")
