"""Training runs: what a network learns from now, how far it is, how it ended."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from models.artifact import ArtifactError
from webadmin import curves, retraining, trail
from webadmin.admin.screen import MachineFacts, show
from webadmin.guard import person
from webadmin.models import TrainingRun, TrainingSet
from webadmin.words import Badge

State = TrainingRun.State
_STATES = {
    State.WAITING: ("progress", "schedule"),
    State.TRAINING: ("progress", "model_training"),
    State.TRAINED: ("progress", "fact_check"),
    State.EVALUATED: ("good", "check_circle"),
    State.FAILED: ("bad", "error"),
    State.CANCELLED: ("quiet", "block"),
}


class StartForm(forms.Form):
    """What a person may say of a run; the rest follows."""

    training_set = forms.ModelChoiceField(
        TrainingSet.objects.all(), label=gettext_lazy("Training set")
    )
    epochs = forms.IntegerField(
        min_value=1, max_value=500, required=False, label=gettext_lazy("Epochs")
    )
    steps = forms.IntegerField(
        min_value=1, max_value=10_000, required=False, label=gettext_lazy("Batches an epoch")
    )
    learning_rate = forms.FloatField(
        min_value=1e-7, max_value=1.0, required=False, label=gettext_lazy("Learning rate")
    )
    layers = forms.ChoiceField(
        label=gettext_lazy("What learns"),
        choices=(
            ("", gettext_lazy("As fits the size of the set")),
            ("last", gettext_lazy("The last layer alone")),
            ("all", gettext_lazy("All layers")),
        ),
        required=False,
    )

    def recipe(self) -> retraining.Recipe:
        """Return the recipe: what was left empty is as suggested for the set."""
        given = self.cleaned_data
        recipe = retraining.suggested(given["training_set"])
        values = {name: given[name] for name in ("epochs", "steps", "learning_rate")}
        values["all_layers"] = {"all": True, "last": False}.get(given["layers"])
        return replace(recipe, **{k: v for k, v in values.items() if v is not None})


@admin.register(TrainingRun)
class TrainingRunAdmin(MachineFacts[TrainingRun]):
    """One line a run. People start and cancel them; a Trainer does the work."""

    class Media:
        css = {"all": ("webadmin/runs.css",)}  # noqa: RUF012 (Django's own declaration)
        js = ("webadmin/live.js",)

    noun = gettext_lazy("Training run")
    change_form_template = "webadmin/training_run.html"
    change_list_template = "webadmin/training_runs.html"
    list_display = ("started_at", "on_set", "came", "far", "made", "by")
    list_select_related = ("training_set", "start", "candidate", "started_by")
    search_fields = ("^training_set__name",)
    search_help_text = gettext_lazy("Training set")

    @admin.display(description=gettext_lazy("training set"), ordering="training_set__name")
    def on_set(self, row: TrainingRun) -> str:
        return row.training_set.name

    @admin.display(description=gettext_lazy("state"), ordering="state")
    def came(self, row: TrainingRun) -> SafeString:
        return show(badge(row))

    @admin.display(description=gettext_lazy("progress"), ordering="progress")
    def far(self, row: TrainingRun) -> str:
        return f"{row.progress:.0%}"

    @admin.display(description=gettext_lazy("candidate"), ordering="candidate")
    def made(self, row: TrainingRun) -> str:
        return str(row.candidate or "–")

    @admin.display(description=gettext_lazy("started by"), ordering="started_by__username")
    def by(self, row: TrainingRun) -> str:
        return row.started_by.get_username()

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, with the way to start a run for who may."""
        extra = {
            "can_start": self.has_start_permission(request),
            "has_sets": TrainingSet.objects.exists(),
            **(extra_context or {}),
        }
        return super().changelist_view(request, extra)

    def page(self, request: HttpRequest, row: TrainingRun) -> dict[str, Any]:
        return {"run": row, **self._live(request, row)}

    def _live(self, request: HttpRequest, row: TrainingRun) -> dict[str, Any]:
        is_going = row.state in (State.WAITING, State.TRAINING, State.TRAINED)
        may_change = self.has_steer_permission(request)
        return {
            "run": row,
            "badge": badge(row),
            "is_going": is_going,
            "percent": round(100 * row.progress),
            "left": _left(row),
            "charts": curves.charts(
                row.curve,
                names={
                    "training_loss": _("training"),
                    "loss": _("validation"),
                    "auroc": _("mean AUROC, validation"),
                },
                titles=(_("Loss"), _("AUROC")),
            ),
            "width": curves.WIDTH,
            "height": curves.HEIGHT,
            "can_cancel": is_going and may_change and not row.is_cancel_asked,
            "can_evaluate": row.state == State.EVALUATED and may_change,
        }

    # --- what a person can do -------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        inside = self.admin_site.admin_view
        return [
            path("start/", inside(self.start_view), name="webadmin_trainingrun_start"),
            path(
                "<int:pk>/live/",
                inside(never_cache(require_safe(self.live_view))),
                name="webadmin_trainingrun_live",
            ),
            path(
                "<int:pk>/cancel/",
                inside(require_POST(self.cancel_view)),
                name="webadmin_trainingrun_cancel",
            ),
            path(
                "<int:pk>/evaluate/",
                inside(require_POST(self.evaluate_view)),
                name="webadmin_trainingrun_evaluate",
            ),
            *super().get_urls(),
        ]

    def has_start_permission(self, request: HttpRequest) -> bool:
        """Return whether this person may start a training."""
        return request.user.has_perm("webadmin.add_trainingrun")

    def has_steer_permission(self, request: HttpRequest) -> bool:
        """Return whether this person may cancel a run or have it evaluated again."""
        return request.user.has_perm("webadmin.change_trainingrun")

    def start_view(self, request: HttpRequest) -> HttpResponse:
        """Ask what to train on, and start."""
        if not self.has_start_permission(request) or request.user.is_anonymous:
            raise PermissionDenied
        chosen = request.GET.get("set") or TrainingSet.objects.values_list("pk", flat=True).first()
        form = StartForm(request.POST or None, initial={"training_set": chosen})
        if request.method == "POST" and form.is_valid():
            try:
                run = retraining.start(
                    form.cleaned_data["training_set"], request.user, form.recipe()
                )
            except (retraining.NotStarted, ArtifactError) as error:
                form.add_error(None, str(error))
            else:
                messages.success(request, _("The run is started; a Trainer takes it up."))
                return redirect("admin:webadmin_trainingrun_change", run.pk)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Start a training"),
            "opts": self.opts,
            "form": form,
            "has_sets": TrainingSet.objects.exists(),
            "media": self.media,
        }
        return TemplateResponse(request, "webadmin/training_start.html", context)

    def live_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Answer with the part of a run's page that changes."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        row = get_object_or_404(TrainingRun.objects.select_related("candidate"), pk=pk)
        context = self._live(request, row)
        return TemplateResponse(request, "webadmin/training_run_live.html", context)

    def cancel_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask for the end of a run."""
        if not self.has_steer_permission(request):
            raise PermissionDenied
        run = get_object_or_404(TrainingRun, pk=pk)
        if retraining.cancel(run, actor=request.user.get_username()):
            messages.success(request, _("The run ends with its next step."))
        else:
            messages.warning(request, _("The run had ended already; nothing was done."))
        return redirect("admin:webadmin_trainingrun_change", pk)

    def evaluate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Have the candidate evaluated again, beside what serves now."""
        if not self.has_steer_permission(request):
            raise PermissionDenied
        run = get_object_or_404(TrainingRun, pk=pk)
        if retraining.evaluate_again(run, person(request)):
            messages.success(request, _("It is evaluated beside the network that serves now."))
        else:
            messages.warning(request, _("The run is not evaluated; nothing was done."))
        return redirect("admin:webadmin_trainingrun_change", pk)


def _left(run: TrainingRun) -> str:
    seconds = run.time_left_s
    return trail.span(datetime.timedelta(seconds=seconds)) if seconds is not None else ""


def badge(run: TrainingRun) -> Badge:
    """Return the coloured word for how a run stands."""
    state = State(run.state)
    tone, icon = _STATES[state]
    if run.is_cancel_asked and state in (State.WAITING, State.TRAINING, State.TRAINED):
        return Badge(_("Being cancelled"), "warn", "block")
    return Badge(str(state.label), tone, icon)
