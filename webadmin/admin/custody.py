"""Custody requests: what senders asked us to keep, before they delete it, and were told."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway import answering
from gateway.models import CustodyRequest, Instance
from webadmin import words
from webadmin.admin.screen import MachineFacts, short_uid, show
from webadmin.filters import DayRangeFilter, Dropdown

_OBJECTS_SHOWN = 100
_SPACE = "\N{NO-BREAK SPACE}"


class OutcomeFilter(Dropdown):
    """By what became of it."""

    title = gettext_lazy("outcome")
    parameter_name = "outcome"

    def lookups(self, _request: HttpRequest, _admin: Any) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in CustodyRequest.Outcome.choices]

    def queryset(
        self, _request: HttpRequest, rows: QuerySet[CustodyRequest]
    ) -> QuerySet[CustodyRequest]:
        return rows.filter(outcome=self.value()) if self.value() else rows


@admin.register(CustodyRequest)
class CustodyRequestAdmin(MachineFacts[CustodyRequest]):
    """One line a request. What a person can do is to have its sender told again."""

    noun = gettext_lazy("Custody request")
    change_form_template = "webadmin/custody.html"
    list_display = ("requested_at", "sender", "came", "kept", "attempts", "answered_at", "uid")
    list_filter = (OutcomeFilter, ("requested_at", DayRangeFilter))
    search_fields = ("=transaction_uid", "^calling_title")
    search_help_text = gettext_lazy("Transaction UID, AE title")
    actions = ("answer_again",)

    @admin.display(description=gettext_lazy("sender"), ordering="calling_title")
    def sender(self, row: CustodyRequest) -> str:
        return row.calling_title

    @admin.display(description=gettext_lazy("outcome"), ordering="outcome")
    def came(self, row: CustodyRequest) -> SafeString:
        badge = show(words.custody(row))
        if not row.last_error:
            return badge
        return format_html(
            '{}<span class="desk-why" title="{}">{}</span>', badge, row.last_error, row.last_error
        )

    @admin.display(description=gettext_lazy("kept"))
    def kept(self, row: CustodyRequest) -> str:
        count = len(row.references)
        if row.outcome != CustodyRequest.Outcome.ANSWERED:
            return (_("%(kept)s of %(all)s") % {"kept": "–", "all": count}).replace(" ", _SPACE)
        kept = count - len(row.failures)
        return (_("%(kept)s of %(all)s") % {"kept": kept, "all": count}).replace(" ", _SPACE)

    @admin.display(description=gettext_lazy("Transaction UID"), ordering="transaction_uid")
    def uid(self, row: CustodyRequest) -> SafeString:
        return short_uid(row.transaction_uid)

    def page(self, request: HttpRequest, row: CustodyRequest) -> dict[str, Any]:
        failures = dict(row.failures)
        # What is not kept first: it is why a person looks.
        named = sorted((uid for _, uid in row.references), key=lambda uid: uid not in failures)
        shown = named[:_OBJECTS_SHOWN]
        known = Instance.objects.filter(sop_instance_uid__in=shown, conflict_of__isnull=True)
        ecgs = dict(known.values_list("sop_instance_uid", "pk"))
        is_failed = answering.failed(CustodyRequest.objects.filter(pk=row.pk)).exists()
        was_told = row.outcome == CustodyRequest.Outcome.ANSWERED
        return {
            "custody": row,
            "badge": words.custody(row),
            "kept": self.kept(row),
            "objects": [
                (uid, ecgs.get(uid), words.kept(failures.get(uid), was_told=was_told))
                for uid in shown
            ],
            "more": len(named) - len(shown),
            "can_answer_again": is_failed and self.has_answer_permission(request),
        }

    def has_answer_permission(self, request: HttpRequest) -> bool:
        """Return whether this person may have a sender told again."""
        return request.user.has_perm("gateway.change_custodyrequest")

    @admin.action(
        permissions=["answer"],
        description=gettext_lazy("Tell the senders of the failed ones again"),
    )
    def answer_again(
        self, request: HttpRequest, rows: QuerySet[CustodyRequest]
    ) -> HttpResponse | None:
        """Have the failed ones among the chosen told again, once this person has confirmed it."""
        failed = answering.failed(rows)
        if "confirmed" not in request.POST:
            context = {
                **self.admin_site.each_context(request),
                "title": _("Tell senders again"),
                "opts": self.opts,
                "failed": failed.order_by("pk")[:_OBJECTS_SHOWN],
                "count": failed.count(),
                "chosen": request.POST.getlist(ACTION_CHECKBOX_NAME),
                "is_across": request.POST.get("select_across") == "1",
                "checkbox": ACTION_CHECKBOX_NAME,
            }
            return TemplateResponse(request, "webadmin/custody_again.html", context)
        told = list(failed)
        changed = answering.answer_again(rows)
        for row in told:
            self.log_change(request, row, "told again")
        messages.success(
            request,
            _("%(changed)d of %(all)d are told again.") % {"changed": changed, "all": len(told)},
        )
        return None
