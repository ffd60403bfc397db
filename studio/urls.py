"""Every address of the site."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.i18n import set_language

from batches.urls import site_urlpatterns
from studio import problems, views
from studio.schema import SchemaView

api_v1: list[URLPattern | URLResolver] = [
    path("", include("credits.urls_api")),
    path("", include("batches.urls_api")),
    path("schema", SchemaView.as_view(), name="schema"),
]

urlpatterns = [
    *site_urlpatterns,
    path("", include("batches.urls")),
    path("admin/", admin.site.urls),
    path("accounts/credits/", include("credits.urls")),
    path("accounts/", include("accounts.urls")),
    path("", include("tools.urls")),
    path("healthz", views.healthz, name="healthz"),
    path("metrics", views.metrics, name="metrics"),
    path("favicon.ico", views.favicon, name="favicon"),
    path("sw.js", views.worker, name="worker"),
    path("offline/", views.offline, name="offline"),
    path("site.webmanifest", views.manifest, name="manifest"),
    path("language/", set_language, name="set_language"),
    path("api/", views.api, name="reference"),
    path("api/v1/", include((api_v1, "api"))),
    path("api/", include("batches.zapier.urls")),
]

handler400 = problems.bad_request
handler403 = problems.forbidden
handler404 = problems.not_found
handler500 = problems.server_error
