"""Accounts elsewhere, in the settings of one's own. They live here because they open storages."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.limits import Limit
from accounts.models import Connection
from batches import connections
from batches import messages as wording
from batches.connection_forms import CREDENTIALS, ArrangementForm, Credentials
from batches.stores.base import StoreError
from batches.views.asking import signed_in, user_of

TESTS_BY_PERSON = Limit(what="connection-tests", most=60)
"""Tries of credentials in an hour: each calls somebody else's server."""
AGAIN = "again_%s"
"""Ids of the second form of a page."""


@require_GET
@signed_in
def index(request: HttpRequest) -> HttpResponseBase:
    """All of one's connections, and what can be connected."""
    own = Connection.objects.visible_to(user_of(request)).order_by("name")
    context = {
        "section": "connections",
        "connections": [(one, said(one)) for one in own],
        "most": connections.MOST,
    }
    return TemplateResponse(request, "accounts/connections.html", context)


@sensitive_post_parameters("secret")
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def new(request: HttpRequest, kind: str) -> HttpResponseBase:
    """Ask for credentials; keep those that work."""
    form = _credentials(kind)(request.POST or None, initial={"name": _first_name(request, kind)})
    if request.method == "POST" and form.is_valid():
        TESTS_BY_PERSON.take(str(user_of(request).uid))
        try:
            connection = connections.connect(
                user_of(request),
                kind=form.kind,
                name=form.cleaned_data["name"],
                config=form.config,
                secret=form.cleaned_data["secret"],
                now=timezone.now(),
            )
        except StoreError as error:
            form.add_error(None, wording.text(error.code, error.params))
        except connections.Refused as refused:
            form.add_error(None, str(refused))
        else:
            text = _("“{name}” is connected. Now say where results go.")
            messages.success(request, text.format(name=connection.name))
            return redirect("batches:connection", connection.uid)
    context = {"section": "connections", "form": form}
    status = 422 if form.is_bound else 200
    return TemplateResponse(request, "accounts/connection_new.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def detail(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """One connection: how it is, where each tool's results go."""
    connection = own_or_404(request, uid)
    form = ArrangementForm(request.POST or None, connection=connection)
    if request.method == "POST" and form.is_valid():
        try:
            connections.arrange(
                connection,
                name=form.cleaned_data["name"],
                folders=form.folders,
                conflict=form.cleaned_data["conflict"],
            )
        except connections.Refused as refused:
            form.add_error(None, str(refused))
        else:
            messages.success(request, _("Saved."))
            return redirect("batches:connection", uid)
    # What is refused must not change what the rest of the page shows.
    return _page(request, own_or_404(request, uid), form, status=422 if form.is_bound else 200)


@sensitive_post_parameters("secret")
@require_POST
@signed_in
def reconnect(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Take other credentials for the same connection, if they work."""
    connection = own_or_404(request, uid)
    form = _credentials(connection.kind)(request.POST, named=False, auto_id=AGAIN)
    if form.is_valid():
        TESTS_BY_PERSON.take(str(user_of(request).uid))
        try:
            connections.reconnect(
                connection,
                config=form.config,
                secret=form.cleaned_data["secret"],
                now=timezone.now(),
            )
        except StoreError as error:
            form.add_error(None, wording.text(error.code, error.params))
        else:
            messages.success(request, _("The new credentials work and are kept."))
            return redirect("batches:connection", uid)
    arranged = ArrangementForm(connection=connection)
    return _page(request, connection, arranged, credentials=form, status=422)


@require_POST
@signed_in
def test(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Ask the account whether it knows us, and say what it answered."""
    connection = own_or_404(request, uid)
    TESTS_BY_PERSON.take(str(user_of(request).uid))
    if error := connections.test(connection, now=timezone.now()):
        messages.error(request, wording.text(error.code, error.params))
    else:
        text = _("It works: “{name}” answered and knows our key.")
        messages.success(request, text.format(name=connection.name))
    return redirect("batches:connection", uid)


@require_POST
@signed_in
def disconnect(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Forget the connection and its secret; twice is no mistake."""
    own = Connection.objects.visible_to(user_of(request)).filter(uid=uid).first()
    if own:
        connections.disconnect(own)
        text = _("“{name}” is disconnected. What was delivered there stays there.")
        messages.success(request, text.format(name=own.name))
    return redirect("batches:connections")


def own_or_404(request: HttpRequest, uid: UUID) -> Connection:
    """One of the asking person's own connections."""
    return get_object_or_404(Connection.objects.visible_to(user_of(request)), uid=uid)


def said(connection: Connection) -> str:
    """What is wrong with it, for people; empty when nothing is known to be."""
    if not connection.error_code:
        return ""
    return wording.text(connection.error_code, connection.error_params)


def _page(
    request: HttpRequest,
    connection: Connection,
    form: ArrangementForm,
    *,
    credentials: Credentials | None = None,
    status: int = 200,
) -> TemplateResponse:
    config = {**connection.config, "folder": connection.config.get("prefix", "")}
    context = {
        "section": "connections",
        "connection": connection,
        "problem": said(connection),
        "facts": _facts(connection),
        "form": form,
        "credentials": credentials
        or _credentials(connection.kind)(initial=config, named=False, auto_id=AGAIN),
        "reopened": credentials is not None,
    }
    return TemplateResponse(request, "accounts/connection.html", context, status=status)


def _facts(connection: Connection) -> list[tuple[str, str]]:
    """What is no secret about it, for people."""
    labels = {
        "account": _("Account"),
        "client_id": _("Client ID"),
        "cdn": _("CDN"),
        "bucket": _("Bucket"),
        "endpoint": _("Endpoint"),
        "region": _("Region"),
        "prefix": _("Folder in the bucket"),
        "key_id": _("Access key ID"),
        "public_url": _("Public address"),
    }
    config = connection.config
    return [(label, config[name]) for name, label in labels.items() if config.get(name)]


def _credentials(kind: str) -> type[Credentials]:
    try:
        return CREDENTIALS[kind]
    except KeyError:
        raise Http404 from None


def _first_name(request: HttpRequest, kind: str) -> str:
    """A name for a connection that nobody has named yet, if it is still free."""
    name = {"sirv": "Sirv", "s3": "S3"}[kind]
    own = Connection.objects.visible_to(user_of(request))
    return "" if own.filter(name=name).exists() else name
