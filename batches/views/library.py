"""The library: its grid, what is done to many assets at once, its folders, and new files."""

from collections.abc import Sequence
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Page, Paginator
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponseBase, JsonResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import plans
from accounts.models import User
from batches import folders, library
from batches.exports import assets as files
from batches.folders import LibraryRefused
from batches.forms import receive
from batches.models import Asset, Batch, Folder
from batches.refusals import Refusal
from batches.views import shelves
from batches.views.asking import (
    by_script,
    refusal,
    signed_in,
    signed_in_script,
    tool_name,
    user_of,
)
from batches.views.shelves import LOOSE, ORDERS, Wish
from tools.engines.guard import GuardLost

PER_PAGE = 100


@require_GET
@signed_in
def index(request: HttpRequest) -> TemplateResponse:
    """One's own library. The same number of queries however much is in it."""
    owner = user_of(request)
    tree = folders.tree(owner)
    wish = Wish.of(request.GET, tree)
    page = Paginator(wish.assets(owner, tree), PER_PAGE).get_page(request.GET.get("page"))
    place = shelves.branch_of(tree, wish.folder)
    tools, kinds = _facets(owner)
    used, limit = library.used(owner), plans.plan_for(owner).library_bytes
    trashed = Asset.objects.visible_to(owner).filter(trashed_at__isnull=False).count()
    now = timezone.now()
    context = {
        "here": "library",
        "wish": wish,
        "place": wish.address(page=page.number if page.number > 1 else ""),
        "page": page,
        "pages": _pages(page, wish),
        "assets": [(asset, library.days_left(asset, now=now)) for asset in page.object_list],
        "tree": list(tree.walk()),
        "folder": place,
        "trail": tree.trail(place.folder) if place else [],
        "subfolders": [] if wish.is_narrow or not place else place.children,
        "loose": LOOSE,
        "tags": library.tags_of(owner),
        "tools": tools,
        "kinds": kinds,
        "orders": [(key, words) for key, (words, _field, _falls) in ORDERS.items()],
        "used": used,
        "limit": limit,
        "share": min(100, round(100 * used / limit, 1)) if limit else 100,
        "trashed": trashed,
        "trash_days": library.TRASH_DAYS,
        "at_once": library.AT_ONCE,
        "nothing_yet": not (used or tree.roots or trashed or page.paginator.count),
    }
    return TemplateResponse(request, "batches/library.html", context)


def _facets(owner: User) -> tuple[list[tuple[str, str, int]], list[tuple[str, int]]]:
    """Tools and formats that occur outside of the trash, with their numbers. One query."""
    kept = Asset.objects.visible_to(owner).kept().values_list("tool", "format")
    tools: dict[str, int] = {}
    kinds: dict[str, int] = {}
    for tool, kind, n in kept.annotate(n=Count("pk")).order_by():
        kinds[kind] = kinds.get(kind, 0) + n
        if tool:
            tools[tool] = tools.get(tool, 0) + n
    named = [(slug, tool_name(Batch(tool=slug)), n) for slug, n in tools.items()]
    return sorted(named, key=lambda tool: tool[1].lower()), sorted(kinds.items())


def _pages(page: Page, wish: Wish) -> list[tuple[int | None, str]]:
    """Number and address of the pages to choose from; None for pages that are passed over."""
    numbers = page.paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1)
    return [
        (number, wish.address(page=number if number > 1 else ""))
        if isinstance(number, int)
        else (None, "")
        for number in numbers
    ]


# --- Many at once -----------------------------------------------------------------------------


@require_POST
@signed_in
def act(request: HttpRequest) -> HttpResponseBase:
    """Do what a button says with the assets that are ticked; then show the same place again."""
    owner = user_of(request)
    try:
        _act(request, owner, shelves.uuids(request.POST.getlist("asset")))
    except LibraryRefused as refused:
        messages.error(request, refused.detail)
    return redirect(_back(request.POST))


def _act(request: HttpRequest, owner: User, chosen: Sequence[UUID]) -> None:
    """Raises `LibraryRefused`, and `Http404` for a verb that there isn't."""
    verb, n = request.POST.get("verb", ""), 0
    if verb == "empty":
        n = library.empty_trash(owner)
        said = ngettext("{n} image was deleted.", "{n} images were deleted.", n)
        messages.success(request, said.format(n=n))
        return
    if not chosen:
        messages.info(request, _("Nothing was chosen, so nothing has changed."))
        return
    tags = request.POST.get("tags", "").split(",")
    if verb == "move":
        n = library.move(owner, chosen, _folder(owner, request.POST.get("to", "")))
        said = ngettext("{n} image was moved.", "{n} images were moved.", n)
    elif verb in {"favourite", "unfavourite"}:
        n = library.favourite(owner, chosen, on=verb == "favourite")
        said = (
            ngettext("{n} image is a favourite now.", "{n} images are favourites now.", n)
            if verb == "favourite"
            else ngettext(
                "{n} image is no favourite any more.", "{n} images are no favourites any more.", n
            )
        )
    elif verb == "tag":
        n = library.tag(owner, chosen, tags)
        said = ngettext("{n} image was tagged.", "{n} images were tagged.", n)
    elif verb == "untag":
        n = library.untag(owner, chosen, tags)
        said = ngettext("{n} image has lost its tag.", "{n} images have lost their tags.", n)
    elif verb == "trash":
        n = library.trash(owner, chosen)
        said = ngettext(
            "{n} image is in the trash now, for {days} days.",
            "{n} images are in the trash now, for {days} days.",
            n,
        )
    elif verb == "restore":
        n = library.restore(owner, chosen)
        said = ngettext("{n} image was restored.", "{n} images were restored.", n)
    elif verb == "delete":
        n = library.delete(owner, chosen)
        said = ngettext("{n} image was deleted.", "{n} images were deleted.", n)
    else:
        raise Http404
    messages.success(request, said.format(n=n, days=library.TRASH_DAYS))


@require_POST
@signed_in
def download(request: HttpRequest) -> HttpResponseBase:
    """The assets that are ticked, as one ZIP."""
    chosen = shelves.uuids(request.POST.getlist("asset"))
    if not chosen or len(chosen) > library.AT_ONCE:
        messages.info(
            request,
            _("Choose between 1 and {max} images to download.").format(max=library.AT_ONCE),
        )
        return redirect(_back(request.POST))
    own = Asset.objects.visible_to(user_of(request)).filter(uid__in=chosen)
    return files.zip_response(list(own.order_by("name", "pk")))


def _folder(owner: User, text: str) -> Folder | None:
    """The folder that a form names; nothing for the top. Raises `LibraryRefused`."""
    if text in ("", LOOSE):
        return None
    found = Folder.objects.visible_to(owner).filter(uid__in=shelves.uuids([text])).first()
    if found is None:
        raise LibraryRefused("folder_missing")
    return found


def _back(form: QueryDict) -> str:
    """Where a form was sent from: an asset's own page, or a place of the library."""
    if found := shelves.uuids([form.get("at", "")]):
        return reverse("batches:asset", args=found)
    place = QueryDict(form.get("place", "")[:1000])
    query = f"?{place.urlencode()}" if place else ""
    return reverse("batches:library") + query


# --- Folders ----------------------------------------------------------------------------------


@require_POST
@signed_in
def make_folder(request: HttpRequest) -> HttpResponseBase:
    """A new folder; it is opened."""
    owner, name = user_of(request), request.POST.get("name", "").strip()
    if not name:
        return redirect(_back(request.POST))
    try:
        folder = folders.make(owner, name, parent=_folder(owner, request.POST.get("parent", "")))
    except LibraryRefused as refused:
        messages.error(request, refused.detail)
        return redirect(_back(request.POST))
    return redirect(f"{reverse('batches:library')}?folder={folder.uid}")


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def folder(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """A folder's own page: its name, where it lies, and its end."""
    owner = user_of(request)
    found = get_object_or_404(Folder.objects.visible_to(owner), uid=uid)
    if request.method == "POST":
        return _change_folder(request, owner, found)
    tree = folders.tree(owner)
    at = tree.by_id[found.pk]
    inside = [branch.folder.pk for branch in at.walk()]
    context = {
        "here": "library",
        "folder": at,
        "trail": tree.trail(found),
        "others": [branch for branch in tree.walk() if branch.folder.pk not in inside],
        "assets": sum(branch.count for branch in at.walk()),
        "subfolders": len(inside) - 1,
        "trash_days": library.TRASH_DAYS,
    }
    return TemplateResponse(request, "batches/folder.html", context)


def _change_folder(request: HttpRequest, owner: User, found: Folder) -> HttpResponseBase:
    verb = request.POST.get("verb", "")
    try:
        if verb == "rename" and (name := request.POST.get("name", "").strip()):
            folders.rename(found, name)
        elif verb == "move":
            folders.move(found, _folder(owner, request.POST.get("to", "")))
        elif verb == "delete":
            parent = found.parent
            folders.delete(found, with_contents=bool(request.POST.get("with_contents")))
            messages.success(request, _("{name} was deleted.").format(name=found.name))
            query = f"?folder={parent.uid}" if parent else ""
            return redirect(reverse("batches:library") + query)
    except LibraryRefused as refused:
        messages.error(request, refused.detail)
        return redirect("batches:folder", found.uid)
    return redirect(f"{reverse('batches:library')}?folder={found.uid}")


# --- Files in ---------------------------------------------------------------------------------


@require_POST
def upload(request: HttpRequest) -> HttpResponseBase:
    """Take files in, into the folder that is open. A script sends one at a time."""
    return (signed_in_script if by_script(request) else signed_in)(_upload)(request)


def _upload(request: HttpRequest) -> HttpResponseBase:
    owner = user_of(request)
    kept, problems = 0, []
    try:
        to = _folder(owner, request.POST.get("folder", ""))
        for file in request.FILES.getlist("files"):
            taken = receive(owner, file)
            if isinstance(taken, Refusal):
                problems.append(f"{taken.name}: {taken.message}")
                continue
            library.add(owner, taken, folder=to)
            kept += 1
    except LibraryRefused as refused:
        problems.append(refused.detail)
    except GuardLost:
        problems.append(_("Images can't be looked at just now. Try again in a moment."))
    if by_script(request):
        if problems:
            return refusal(422, "not_kept", "\n".join(problems))
        return JsonResponse({"kept": kept}, status=201)
    if kept:
        said = ngettext("{n} image was added.", "{n} images were added.", kept)
        messages.success(request, said.format(n=kept))
    if problems:
        messages.error(request, "\n".join(problems))
    return redirect(_back(request.POST))
