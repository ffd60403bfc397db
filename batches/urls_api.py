"""Addresses under ``/api/v1/`` of uploads, batches, items and single images."""

from django.urls import path

from batches import (
    api,
    deliveries_api,
    direct_api,
    import_api,
    run_api,
    tools_api,
    webhooks_api,
)

urlpatterns = [
    path("tools", tools_api.tools, name="tools"),
    path("tools/<str:slug>", tools_api.tool, name="tool"),
    path("uploads", api.UploadsView.as_view(), name="uploads"),
    path("uploads/direct", direct_api.DirectUploadsView.as_view(), name="uploads-direct"),
    path(
        "uploads/direct/<uuid:uid>/complete",
        direct_api.CompleteView.as_view(),
        name="upload-direct-complete",
    ),
    path("uploads/<uuid:uid>", api.UploadView.as_view(), name="upload"),
    path("uploads/<uuid:uid>/file", api.UploadFileView.as_view(), name="upload-file"),
    path(
        "uploads/<uuid:uid>/thumbnail", api.UploadThumbnailView.as_view(), name="upload-thumbnail"
    ),
    path("batches", api.BatchesView.as_view(), name="batches"),
    path("batches/import", import_api.ImportView.as_view(), name="batches-import"),
    path("batches/<uuid:uid>", api.BatchView.as_view(), name="batch"),
    path("batches/<uuid:uid>/items", api.BatchItemsView.as_view(), name="batch-items"),
    path("batches/<uuid:uid>/start", api.StartView.as_view(), name="batch-start"),
    path("batches/<uuid:uid>/approve", api.ApproveView.as_view(), name="batch-approve"),
    path("batches/<uuid:uid>/pause", api.PauseView.as_view(), name="batch-pause"),
    path("batches/<uuid:uid>/resume", api.ResumeView.as_view(), name="batch-resume"),
    path("batches/<uuid:uid>/cancel", api.CancelView.as_view(), name="batch-cancel"),
    path("batches/<uuid:uid>/retry", api.RetryView.as_view(), name="batch-retry"),
    path("batches/<uuid:uid>/results.zip", api.BatchResultsView.as_view(), name="batch-results"),
    path(
        "batches/<uuid:uid>/links/revoke",
        webhooks_api.RevokeLinksView.as_view(),
        name="batch-links-revoke",
    ),
    path("webhooks", webhooks_api.WebhooksView.as_view(), name="webhooks"),
    path("webhooks/<uuid:uid>", webhooks_api.WebhookView.as_view(), name="webhook"),
    path(
        "webhooks/<uuid:uid>/deliveries",
        webhooks_api.WebhookDeliveriesView.as_view(),
        name="webhook-deliveries",
    ),
    path("webhooks/<uuid:uid>/test", webhooks_api.WebhookTestView.as_view(), name="webhook-test"),
    path(
        "batches/<uuid:uid>/deliveries",
        deliveries_api.BatchDeliveriesView.as_view(),
        name="batch-deliveries",
    ),
    path("deliveries/<uuid:uid>", deliveries_api.DeliveryView.as_view(), name="delivery"),
    path(
        "deliveries/<uuid:uid>/retry",
        deliveries_api.DeliveryRetryView.as_view(),
        name="delivery-retry",
    ),
    path(
        "deliveries/<uuid:uid>/undo",
        deliveries_api.DeliveryUndoView.as_view(),
        name="delivery-undo",
    ),
    path(
        "deliveries/<uuid:uid>/file",
        deliveries_api.DeliveryFileView.as_view(),
        name="delivery-file",
    ),
    path("run/<slug:slug>", run_api.RunView.as_view(), name="run"),
    path("items/<uuid:uid>", api.ItemView.as_view(), name="item"),
    path("items/<uuid:uid>/result", api.ItemResultView.as_view(), name="item-result"),
    path(
        "items/<uuid:uid>/result/thumbnail", api.ItemThumbnailView.as_view(), name="item-thumbnail"
    ),
]
