"""The records of images, batches and what becomes of them."""

from batches.models.deliveries import Delivery, DeliveryState, Parcel, ParcelState
from batches.models.drafts import Draft, DraftImage, PartialUpload
from batches.models.library import Asset, AssetQuerySet, Folder, Tag
from batches.models.quotas import TokenBucket
from batches.models.sheets import Sheet, SheetKind
from batches.models.tools import ToolRule
from batches.models.webhooks import (
    DefaultSecret,
    Envelope,
    WebhookEndpoint,
    WebhookMessage,
    WebhookState,
)
from batches.models.work import (
    Batch,
    BatchQuerySet,
    Item,
    ItemQuerySet,
    Original,
    OriginalQuerySet,
    Result,
    SettingImage,
)

__all__ = [
    "Asset",
    "AssetQuerySet",
    "Batch",
    "BatchQuerySet",
    "DefaultSecret",
    "Delivery",
    "DeliveryState",
    "Draft",
    "DraftImage",
    "Envelope",
    "Folder",
    "Item",
    "ItemQuerySet",
    "Original",
    "OriginalQuerySet",
    "Parcel",
    "ParcelState",
    "PartialUpload",
    "Result",
    "SettingImage",
    "Sheet",
    "SheetKind",
    "Tag",
    "TokenBucket",
    "ToolRule",
    "WebhookEndpoint",
    "WebhookMessage",
    "WebhookState",
]
