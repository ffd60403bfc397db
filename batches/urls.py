"""Addresses of the pages about batches."""

from django.urls import path

from batches import views

app_name = "batches"
urlpatterns = [
    path("tools/<slug:slug>/", views.new, name="new"),
    path("uploads/", views.upload, name="upload"),
    path("uploads/<uuid:uid>/thumbnail/", views.upload_thumbnail, name="upload_thumbnail"),
    path("batches/", views.index, name="index"),
    path("batches/<uuid:uid>/", views.detail, name="detail"),
    path("batches/<uuid:uid>/progress/", views.poll, name="poll"),
    path("batches/<uuid:uid>/start/", views.start, name="start"),
    path("batches/<uuid:uid>/approve/", views.approve, name="approve"),
    path("batches/<uuid:uid>/pause/", views.pause, name="pause"),
    path("batches/<uuid:uid>/resume/", views.resume, name="resume"),
    path("batches/<uuid:uid>/cancel/", views.cancel, name="cancel"),
    path("batches/<uuid:uid>/retry/", views.retry, name="retry"),
    path("batches/<uuid:uid>/results.zip", views.results_zip, name="zip"),
    path("items/<uuid:uid>/original/", views.original, name="original"),
    path("items/<uuid:uid>/result/", views.result, name="result"),
    path("items/<uuid:uid>/thumbnail/", views.thumbnail, name="thumbnail"),
]

site_urlpatterns = [path("", views.home, name="home")]
"""Outside of the name space: the settings of sign-in and sign-out say `home`."""
