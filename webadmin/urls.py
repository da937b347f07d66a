"""The doors of the web process."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from django.views.i18n import set_language

from webadmin import curation_views, health, help, reading_views, signin, upload

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index"), name="home"),
    path("healthz", health.healthz, name="healthz"),
    path("signin/<str:who>/<str:token>/", signin.SignIn.as_view(), name="signin"),
    path("desk/language/", set_language, name="set_language"),
    path("desk/help/", include(help.urls())),
    path("desk/add/", include(upload.urls())),
    path("desk/curation/", include(curation_views.urls())),
    path("desk/reading/", include(reading_views.urls())),
    path("desk/", admin.site.urls),
]
