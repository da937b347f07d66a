"""ECGs: the list a cardiologist looks through, and the page of one."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from dicom_node.errors import ImageError
from gateway import doorbell, leases
from gateway.models import Finding, Instance
from gateway.retention import AgedOut
from gateway.spool import SpoolError
from gateway.states import DONE, WAITING, State
from webadmin import audit, preview, trail, words
from webadmin.admin.screen import MachineFacts, show
from webadmin.bars import bars_of
from webadmin.filters import DayFilter, DayRangeFilter, FindingFilter, SenderFilter, StateFilter
from webadmin.labelling import label_of
from webadmin.reading_list import taken_by

CAUSES_SHOWN = 12
READINGS_SHOWN = 20
UNHAPPY = (State.REJECTED, State.FAILED, State.SET_ASIDE)


@admin.register(Instance)
class InstanceAdmin(MachineFacts[Instance]):
    """One line an ECG. The one thing a person can do is to resume one that failed."""

    class Media:
        js = ("webadmin/picture.js",)

    noun = gettext_lazy("ECG")
    of_ecg = "pk"
    lists_patients = True
    change_form_template = "webadmin/instance.html"
    list_before_template = "webadmin/state_chips.html"
    list_display = ("picture", "received", "patient", "accession", "where", "seen", "sender")
    list_display_links = ("picture", "received")
    list_filter = (
        StateFilter,
        FindingFilter,
        SenderFilter,
        DayFilter,
        ("received_at", DayRangeFilter),
    )
    list_per_page = 25
    search_fields = (
        "^study__accession_number",
        "^study__patient_id",
        "=sop_instance_uid",
        "=study__study_instance_uid",
    )
    search_help_text = gettext_lazy("Accession number, patient ID, UID")
    actions = ("resume_selected",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Instance]:
        seen = Finding.objects.exclude(verdict=Finding.Verdict.ABSENT)
        rows = super().get_queryset(request).select_related("study")
        return rows.prefetch_related(Prefetch("findings", queryset=seen, to_attr="seen_findings"))

    # --- the list -------------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("picture"))
    def picture(self, row: Instance) -> SafeString:
        link = reverse("admin:gateway_instance_picture", args=[row.pk])
        return format_html(
            '<img class="desk-thumbnail" src="{}?size=thumbnail" alt="ECG {}" loading="lazy"'
            ' width="128" height="84" data-picture>',
            link,
            row.pk,
        )

    @admin.display(description=gettext_lazy("received"), ordering="received_at")
    def received(self, row: Instance) -> Any:
        return row.received_at

    @admin.display(description=gettext_lazy("patient ID"), ordering="study__patient_id")
    def patient(self, row: Instance) -> str:
        return (row.study.patient_id if row.study else "") or "–"

    @admin.display(description=gettext_lazy("accession"), ordering="study__accession_number")
    def accession(self, row: Instance) -> str:
        return (row.study.accession_number if row.study else "") or "–"

    @admin.display(description=gettext_lazy("state"), ordering="state")
    def where(self, row: Instance) -> SafeString:
        badge = show(words.state(row.state))
        why = row.reason or (row.last_error if row.state not in DONE else "")
        if not why:
            return badge
        return format_html('{}<span class="desk-why" title="{}">{}</span>', badge, why, why)

    @admin.display(description=gettext_lazy("findings (AI result, unverified)"))
    def seen(self, row: Instance) -> SafeString:
        found = [f for f in row.seen_findings if f.model_version_id == row.model_version_id]  # type: ignore[attr-defined]
        if not found:
            none = _("none of the ten") if row.model_version_id else "–"
            return format_html('<span class="desk-none">{}</span>', none)
        badges = format_html_join("", "{}", ((show(words.finding(f)),) for f in found))
        return format_html('<span class="desk-badges">{}</span>', badges)

    @admin.display(description=gettext_lazy("sender"), ordering="calling_title")
    def sender(self, row: Instance) -> str:
        return row.calling_title

    # --- the page -------------------------------------------------------------------------------

    def page(self, request: HttpRequest, row: Instance) -> dict[str, Any]:
        picture, problem = None, ""
        try:
            picture = preview.frame(row)
        except ImageError as error:
            problem = _("This object cannot be shown: %s.") % error
        except AgedOut as error:
            problem = _("Not here any more: %s.") % error
        except SpoolError:
            problem = _("The file of this object is missing from the spool.")
        except (MemoryError, OSError):
            problem = _("This object cannot be shown now; try again later.")
        reports = row.reports.prefetch_related("deliveries__peer").order_by("kind")
        label = label_of(row)
        return {
            "instance": row,
            "notice": words.NOTICE,
            "badge": words.state(row.state),
            "failed_in": words.FAILED_IN.get(State(row.failed_in), "") if row.failed_in else "",
            "is_unhappy": row.state in UNHAPPY,
            "can_resume": row.state == State.FAILED and self.has_resume_permission(request),
            "frame": picture,
            "picture_problem": problem,
            "outline": preview.outline(row.region),
            "bars": bars_of(row),
            "quality": [(_(name.replace("_", " ")), value) for name, value in row.quality.items()],
            "steps": trail.steps(row.transitions.all()),
            "reports": [
                (report, [(d, words.delivery(d.outcome)) for d in report.deliveries.all()])
                for report in reports
            ],
            "readings": [
                (said, words.said(said.findings))
                for said in row.readings.select_related("reader", "shown")[:READINGS_SHOWN]
            ],
            "label": label,
            "label_words": words.said(label.findings) if label else [],
            "conflicts": [(other, words.state(other.state)) for other in row.conflicts.all()],
        }

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show an ECG; to who has taken it to be read blinded, the page where they read it."""
        number = int(object_id) if object_id.isdecimal() else 0
        if (user := request.user).is_authenticated and (taken := taken_by(user, number)):
            return redirect(f"{reverse('reading', args=[number])}?assignment={taken.pk}")
        return super().change_view(request, object_id, form_url, extra_context)

    # --- what else it answers -------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        inside = self.admin_site.admin_view
        return [
            path(
                "<int:pk>/picture/",
                inside(require_safe(self.picture_view), cacheable=True),
                name="gateway_instance_picture",
            ),
            path(
                "<int:pk>/resume/",
                inside(require_POST(self.resume_view)),
                name="gateway_instance_resume",
            ),
            *super().get_urls(),
        ]

    def picture_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Answer with the picture of one ECG."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        instance = get_object_or_404(Instance.objects.select_related("study"), pk=pk)
        if preview.is_small(request):
            audit.record_small_picture(request, instance)
        else:
            audit.record(audit.Action.VIEWED, request=request, subject=instance)
        return preview.respond(request, instance)

    def has_resume_permission(self, request: HttpRequest) -> bool:
        """Return whether this person may set a failed ECG going again."""
        return request.user.has_perm("gateway.change_instance")

    def resume_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Resume one failed ECG and go back to its page."""
        if not self.has_resume_permission(request):
            raise PermissionDenied
        instance = get_object_or_404(Instance, pk=pk)
        if resume(instance, request):
            messages.success(
                request,
                _("ECG %(number)d goes on from: %(state)s.")
                % {"number": pk, "state": instance.get_state_display()},
            )
        else:
            messages.warning(request, _("ECG %d is not failed (any more); nothing was done.") % pk)
        return redirect("admin:gateway_instance_change", pk)

    @admin.action(permissions=["resume"], description=gettext_lazy("Resume those that failed"))
    def resume_selected(
        self, request: HttpRequest, rows: QuerySet[Instance]
    ) -> HttpResponse | None:
        """Show why the chosen ECGs failed, and resume them when that was confirmed."""
        failed = rows.filter(state=State.FAILED)
        if "confirmed" not in request.POST:
            return self._ask_to_resume(request, failed)
        resumed = 0
        for instance in failed.order_by("pk").iterator(chunk_size=500):
            resumed += _resumed(instance, request)
        for state in WAITING:
            doorbell.ring(0, state)
        messages.success(request, _("%d resumed.") % resumed)
        return None

    def _ask_to_resume(self, request: HttpRequest, failed: QuerySet[Instance]) -> HttpResponse:
        by_cause = failed.order_by().values_list("failed_in", "reason").annotate(count=Count("pk"))
        causes = [
            (count, words.FAILED_IN.get(State(failed_in), "") if failed_in else "", reason)
            for failed_in, reason, count in by_cause.order_by("-count", "reason")
        ]
        context = {
            **self.admin_site.each_context(request),
            "title": _("Resume failed ECGs"),
            "opts": self.opts,
            "count": sum(count for count, _, _ in causes),
            "causes": causes[:CAUSES_SHOWN],
            "more": len(causes) - CAUSES_SHOWN,
            "action": request.POST.get("action"),
            "select_across": request.POST.get("select_across"),
            "selected": request.POST.getlist(helpers.ACTION_CHECKBOX_NAME),
            "action_checkbox_name": helpers.ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "webadmin/resume.html", context)


def resume(instance: Instance, request: HttpRequest) -> bool:
    """Set a failed instance going again in the name of the person who asked."""
    if not _resumed(instance, request):
        return False
    doorbell.ring(instance.pk, State(instance.state))
    return True


@transaction.atomic
def _resumed(instance: Instance, request: HttpRequest) -> bool:
    is_resumed = leases.resume(instance, actor=_person(request))
    if is_resumed:
        audit.record(audit.Action.RESUMED, request=request, subject=instance)
    return is_resumed


def _person(request: HttpRequest) -> str:
    return f"user:{request.user.get_username()}"[:64]
