"""The records of images, batches and what becomes of them."""

from batches.models.deliveries import Delivery, DeliveryState, Parcel, ParcelState
from batches.models.drafts import Draft, DraftImage, PartialUpload
from batches.models.library import Asset, AssetQuerySet, Folder, Tag
from batches.models.quotas import TokenBucket
from batches.models.recurring import (
    Recurring,
    RecurringRun,
    RecurringSeen,
    RunState,
    SourceKind,
)
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
    "Recurring",
    "RecurringRun",
    "RecurringSeen",
    "Result",
    "RunState",
    "SettingImage",
    "Sheet",
    "SheetKind",
    "SourceKind",
    "Tag",
    "TokenBucket",
    "ToolRule",
    "WebhookEndpoint",
    "WebhookMessage",
    "WebhookState",
]
