"""What a result is sent as, as boxes to tick."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from gateway.outputs import Output
from webadmin.unfolded import ModelForm


def output_boxes(help_text: str) -> forms.MultipleChoiceField:
    """Return a field of a form for a list of outputs; its value is what the row keeps."""
    return forms.MultipleChoiceField(
        choices=Output.choices,
        label=gettext_lazy("Outputs"),
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
        help_text=help_text,
    )


def names(outputs: list[str]) -> str:
    """Return outputs in words."""
    return ", ".join(str(Output(output).label) for output in outputs)


class OutputsForm(ModelForm):
    """A form of a row that has `outputs`."""

    outputs = output_boxes("")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "outputs" in self.fields:
            described = self._meta.model._meta.get_field("outputs")
            self.fields["outputs"].help_text = described.help_text
