"""Addresses of the pages about batches."""

from django.urls import path

from batches.views import (
    adding,
    drafting,
    files,
    gallery,
    items,
    leaving,
    listing,
    managing,
    pasting,
    single,
    uploads,
    watching,
)

app_name = "batches"
urlpatterns = [
    path("tools/", gallery.gallery, name="gallery"),
    path("tools/<slug:slug>/", adding.new, name="new"),
    path("tools/<slug:slug>/single/", single.new, name="single"),
    path("tools/<slug:slug>/single/for-batch/", single.for_batch, name="single_for_batch"),
    path("tools/<slug:slug>/single/<uuid:uid>/", single.image, name="single_image"),
    path("tools/<slug:slug>/single/<uuid:uid>/progress/", single.poll, name="single_poll"),
    path("tools/<slug:slug>/single/<uuid:uid>/cancel/", single.cancel, name="single_cancel"),
    path("tools/<slug:slug>/single/<uuid:uid>/delete/", single.delete, name="single_delete"),
    path("tools/<slug:slug>/notice/", gallery.notice, name="notice"),
    path("tools/<slug:slug>/draft/", drafting.draft, name="draft"),
    path("tools/<slug:slug>/draft/remove/", drafting.remove, name="draft_remove"),
    path("tools/<slug:slug>/samples/", drafting.add_samples, name="samples"),
    path("tools/<slug:slug>/addresses/", pasting.judge, name="addresses"),
    path("addresses/probe/", pasting.probe, name="probe"),
    path("uploads/", uploads.upload, name="upload"),
    path("uploads/known/", uploads.known, name="known"),
    path("uploads/tus/", uploads.tus, name="tus"),
    path("uploads/tus/<uuid:uid>/", uploads.tus_one, name="tus_one"),
    path("uploads/<uuid:uid>/thumbnail/", files.upload_thumbnail, name="upload_thumbnail"),
    path("accounts/delete/", leaving.leave, name="leave"),
    path("batches/", listing.index, name="index"),
    path("batches/pulse/", listing.pulse, name="pulse"),
    path("batches/<uuid:uid>/", watching.detail, name="detail"),
    path("batches/<uuid:uid>/progress/", watching.poll, name="poll"),
    path("batches/<uuid:uid>/cards/", watching.cards, name="cards"),
    path("batches/<uuid:uid>/start/", watching.start, name="start"),
    path("batches/<uuid:uid>/approve/", watching.approve, name="approve"),
    path("batches/<uuid:uid>/pause/", watching.pause, name="pause"),
    path("batches/<uuid:uid>/resume/", watching.resume, name="resume"),
    path("batches/<uuid:uid>/cancel/", watching.cancel, name="cancel"),
    path("batches/<uuid:uid>/retry/", watching.retry, name="retry"),
    path("batches/<uuid:uid>/rename/", managing.rename, name="rename"),
    path("batches/<uuid:uid>/delete/", managing.delete, name="delete"),
    path("batches/<uuid:uid>/results.zip", watching.results_zip, name="zip"),
    path("items/<uuid:uid>/", items.detail, name="item"),
    path("items/<uuid:uid>/original/", files.original, name="original"),
    path("items/<uuid:uid>/result/", files.result, name="result"),
    path("items/<uuid:uid>/thumbnail/", files.thumbnail, name="thumbnail"),
]

site_urlpatterns = [path("", gallery.home, name="home")]
"""Outside of the name space: the settings of sign-in and sign-out say `home`."""
