"""Labels: what counts as true of an ECG, with all that was said of it before; import and export."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from models.labels import KEYS
from webadmin import audit, label_files, labelling, words
from webadmin.admin.screen import MachineFacts, show
from webadmin.filters import DayRangeFilter, Dropdown
from webadmin.guard import person
from webadmin.models import Label, Reading

IMPORT: Final = "webadmin.import_label"
EXPORT: Final = "webadmin.export_label"
IDENTIFY: Final = "gateway.view_study"
"""Who may see whose ECG it is may export that, too."""

_SALT: Final = "webadmin.labels.import"
_CONFIRM_S: Final = 1800
_SHOWN: Final = 100


class SourceFilter(Dropdown):
    """By who says so."""

    title = gettext_lazy("source")
    parameter_name = "source"

    def lookups(self, _request: HttpRequest, _admin: Any) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in Label.Source.choices]

    def queryset(self, _request: HttpRequest, rows: QuerySet[Label]) -> QuerySet[Label]:
        return rows.filter(source=self.value()) if self.value() else rows


@admin.register(Label)
class LabelAdmin(MachineFacts[Label]):
    """One line a label, the latest first; the latest of an ECG holds."""

    noun = gettext_lazy("Label")
    lists_patients = True
    of_ecg = "instance"
    change_form_template = "webadmin/label.html"
    list_before_template = "webadmin/labels_before.html"
    list_display = ("decided_at", "ecg", "says", "origin", "decided_by", "comment")
    list_filter = (SourceFilter, ("decided_at", DayRangeFilter))
    search_fields = ("=instance__sop_instance_uid", "^instance__study__accession_number")
    search_help_text = gettext_lazy("Accession number, UID")
    list_select_related = ("decided_by",)
    show_full_result_count = False

    @admin.display(description=gettext_lazy("ECG"), ordering="instance")
    def ecg(self, row: Label) -> str:
        return _("ECG %d") % row.instance_id

    @admin.display(description=gettext_lazy("what counts as true"))
    def says(self, row: Label) -> SafeString:
        shown = labelling.badges(row.findings)
        if not shown:
            return format_html('<span class="desk-none">{}</span>', _("none of the ten"))
        badges = format_html_join("", "{}", ((show(one),) for one in shown))
        return format_html('<span class="desk-badges">{}</span>', badges)

    @admin.display(description=gettext_lazy("source"), ordering="source")
    def origin(self, row: Label) -> str:
        return row.get_source_display()

    def page(self, request: HttpRequest, row: Label) -> dict[str, Any]:
        audit.record(audit.Action.VIEWED, request=request, subject=row.instance)
        history = Label.objects.filter(instance=row.instance_id).select_related("decided_by")
        readings = Reading.objects.filter(instance=row.instance_id).select_related(
            "reader", "shown", "guideline", "assignment"
        )
        newest = max(one.pk for one in history)
        return {
            "label": row,
            "holds": row.pk == newest,
            "newest": newest,
            "lines": [
                (words.MEANINGS[key], labelling.badge(key, row.findings[key])) for key in KEYS
            ],
            "history": [(one, labelling.badges(one.findings)) for one in history.order_by("-pk")],
            "readings": [(one, labelling.badges(one.findings)) for one in readings],
            "may_see_readings": request.user.has_perm("webadmin.view_reading"),
        }

    # --- import and export ----------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        inside = self.admin_site.admin_view
        return [
            path("import/", inside(require_http_methods(["GET", "POST"])(self.import_view)),
                 name="webadmin_label_import"),
            path("export/", inside(require_POST(self.export_view)), name="webadmin_label_export"),
            *super().get_urls(),
        ]  # fmt: skip

    def import_view(self, request: HttpRequest) -> HttpResponse:
        """Show what a file would write, and write it once that was confirmed."""
        if not request.user.has_perm(IMPORT):
            raise PermissionDenied
        user = person(request)
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": _("Import labels"),
            "opts": self.opts,
            "max_bytes": label_files.MAX_BYTES,
            "max_lines": label_files.MAX_LINES,
            "keys": KEYS,
        }
        content = _content(request, user)
        if content is None:
            if request.method == "POST":
                messages.error(request, _("Choose the file again: it was too long ago."))
            return TemplateResponse(request, "webadmin/label_import.html", context)
        found = label_files.read(content)
        if "confirmed" in request.POST and not found.faults:
            count = label_files.write(found, user)
            messages.success(request, _("%d labels were written.") % count)
            return redirect("admin:webadmin_label_changelist")
        context |= {
            "preview": found,
            "faults": found.faults[:_SHOWN],
            "more_faults": max(0, len(found.faults) - _SHOWN),
            "lines": [(line, labelling.badges(line.words)) for line in found.lines[:_SHOWN]],
            "more_lines": max(0, len(found.lines) - _SHOWN),
            "replaced": sum(line.replaces_consensus for line in found.lines),
            "ticket": ""
            if found.faults
            else signing.dumps([user.pk, content.decode("utf-8-sig")], salt=_SALT, compress=True),
        }
        return TemplateResponse(request, "webadmin/label_import.html", context)

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Answer with the labels that hold, as CSV."""
        identify = "identifiers" in request.POST
        if not request.user.has_perm(EXPORT) or (identify and not request.user.has_perm(IDENTIFY)):
            raise PermissionDenied
        audit.record(
            audit.Action.EXPORTED, request=request, subject="labels",
            labels=labelling.latest().count(), identifiers=identify,
        )  # fmt: skip
        lines = label_files.written(with_identifiers=identify)
        answer = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = 'attachment; filename="labels.csv"'
        answer["Cache-Control"] = "no-store"
        return answer

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, with what this person may do beside it."""
        doors = {
            "may_import": request.user.has_perm(IMPORT),
            "may_export": request.user.has_perm(EXPORT),
            "may_identify": request.user.has_perm(IDENTIFY),
            "import_url": reverse("admin:webadmin_label_import"),
        }
        return super().changelist_view(request, {**(extra_context or {}), **doors})


def _content(request: HttpRequest, user: User) -> bytes | None:
    """Return the file that was chosen, now or a step before; None without one."""
    upload = request.FILES.get("file")
    if upload is not None:
        return bytes(upload.read(label_files.MAX_BYTES + 1))
    try:
        whose, text = signing.loads(request.POST.get("ticket", ""), salt=_SALT, max_age=_CONFIRM_S)
    except signing.BadSignature:
        return None
    return str(text).encode() if whose == user.pk else None
