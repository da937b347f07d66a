"""Routing rules: which results go where, and what they would do with an ECG that is here."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from gateway import routing
from gateway.models import Peer, Rule
from webadmin import audit, outputs, ruling, searches
from webadmin.admin.screen import show
from webadmin.unfolded import ModelAdmin
from webadmin.words import Badge


class RuleForm(outputs.OutputsForm):
    """Outputs and destinations as boxes to tick: they work by keyboard and on a phone."""

    destinations = forms.ModelMultipleChoiceField(
        queryset=Peer.objects.filter(is_destination=True),
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
        label=gettext_lazy("Destinations"),
        help_text=gettext_lazy("None: such a result is kept here and sent nowhere."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "destinations" in self.fields and self.instance.pk:
            # One that receives no reports now stays ticked: leaving it out unseen would turn the
            # rule into one that sends nowhere.
            receiving = Peer.objects.filter(is_destination=True)
            named = Peer.objects.filter(rules=self.instance)
            self.fields["destinations"].queryset = (receiving | named).distinct()  # type: ignore[attr-defined]


@admin.register(Rule)
class RuleAdmin(ModelAdmin[Rule]):
    """One line a rule, in the order in which they are asked."""

    form = RuleForm
    list_display = ("position", "name", "conditions", "where", "what", "is_on")
    list_display_links = ("name",)
    search_fields = ("name",)
    warn_unsaved_form = True
    list_before_template = "webadmin/rules_before.html"
    fieldsets = (
        (None, {"fields": ("name", "position", "is_active")}),
        (
            gettext_lazy("Of which results"),
            {
                "fields": (
                    "sender",
                    "station_name",
                    "modality",
                    "description",
                    "finding",
                    "min_probability",
                ),
                "description": gettext_lazy(
                    "Every condition given here has to be met. Without any, all are."
                ),
            },
        ),
        (gettext_lazy("Where they go"), {"fields": ("destinations", "outputs")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Rule]:
        return super().get_queryset(request).prefetch_related("destinations")

    @admin.display(description=gettext_lazy("of which results"))
    def conditions(self, row: Rule) -> SafeString | str:
        said = routing.describe(routing.as_value(row))
        if not said:
            return _("all")
        lines = format_html_join("", "<li>{}</li>", ((text,) for text in said))
        return format_html('<ul class="desk-conditions">{}</ul>', lines)

    @admin.display(description=gettext_lazy("where they go"))
    def where(self, row: Rule) -> SafeString | str:
        peers = list(row.destinations.all())
        if not peers:
            return show(Badge(_("nowhere"), "warn", "block"))
        return ", ".join(
            peer.title if peer.is_destination else _("%s (off)") % peer.title for peer in peers
        )

    @admin.display(description=gettext_lazy("as"))
    def what(self, row: Rule) -> str:
        if not row.destinations.all():
            return "–"
        return outputs.names(row.outputs) or _("what each usually gets")

    @admin.display(description=gettext_lazy("in use"), boolean=True, ordering="is_active")
    def is_on(self, row: Rule) -> bool:
        return row.is_active

    def get_urls(self) -> list[URLPattern]:
        inside = self.admin_site.admin_view(require_safe(self.test_view))
        return [path("test/", inside, name="gateway_rule_test"), *super().get_urls()]

    def test_view(self, request: HttpRequest) -> HttpResponse:
        """Show what the rules would do with an ECG that is here: nothing is sent or written."""
        if not (
            self.has_view_permission(request) and request.user.has_perm("gateway.view_instance")
        ):
            raise PermissionDenied
        if elsewhere := searches.out_of_address(request, "ecg"):
            return elsewhere
        asked = searches.words_of(request, request.GET.get("ecg", "")) or ""
        answer = ruling.answer(asked)
        if "instance" in answer:
            audit.record(audit.Action.VIEWED, request=request, subject=answer["instance"])
        context = {
            **self.admin_site.each_context(request),
            "title": _("Which rule would fire"),
            "opts": self.opts,
            "asked": asked,
            **answer,
        }
        return TemplateResponse(request, "webadmin/rule_test.html", context)
