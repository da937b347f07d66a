"""The Desk: one file a screen."""

from django.contrib import admin
from django.utils.translation import gettext_lazy

from webadmin.admin import (  # noqa: F401  (importing a screen registers it)
    alerts,
    associations,
    commitments,
    custody,
    deliveries,
    dispatches,
    disposals,
    guidelines,
    instances,
    labels,
    model_versions,
    peers,
    people,
    reports,
    rules,
    studies,
    trail_list,
    training_runs,
    trainingsets,
    transitions,
)

admin.site.index_template = "webadmin/index.html"
admin.site.index_title = gettext_lazy("Overview")
