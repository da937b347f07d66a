"""The doors of the web process."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from webadmin import curation_views, health, reading_views, signin, upload

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index"), name="home"),
    path("healthz", health.healthz, name="healthz"),
    path("signin/<str:who>/<str:token>/", signin.SignIn.as_view(), name="signin"),
    path("desk/add/", include(upload.urls())),
    path("desk/curation/", include(curation_views.urls())),
    path("desk/reading/", include(reading_views.urls())),
    path("desk/", admin.site.urls),
]
