"""Images of connected accounts on the page of a new batch: look into folders, choose, take back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from django.http import HttpRequest, HttpResponseBase, QueryDict
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts.models import Connection, User
from batches import connections, drafts
from batches import messages as wording
from batches.connections import Folder, Pick
from batches.stores.base import StoreError
from batches.views.asking import htmx_of, signed_in, tool_or_404, user_of

MOST_SHOWN = 100
"""Files of a folder that can be ticked one by one; the folder itself may be taken whole."""
MOST_COUNTED = 100_000


@dataclass
class Panel:
    """What the page shows of connected accounts."""

    connections: Sequence[Connection]
    picks: list[Pick]
    at: Connection | None = None
    folder: Folder | None = None
    error: str = ""

    @property
    def chosen(self) -> list[tuple[Pick, str]]:
        """What was chosen, each with the name of its account."""
        names = {str(one.uid): one.name for one in self.connections}
        return [(pick, names.get(pick.connection, _("not connected"))) for pick in self.picks]

    @property
    def above(self) -> list[tuple[str, str]]:
        """The folders above the one that is shown: name and path."""
        names = self.folder.path.split("/") if self.folder and self.folder.path else []
        return [(name, "/".join(names[: number + 1])) for number, name in enumerate(names)]

    @property
    def below(self) -> list[tuple[str, str]]:
        """The folders in the one that is shown: name and path."""
        if self.folder is None:
            return []
        start = f"{self.folder.path}/" if self.folder.path else ""
        return [(name, start + name) for name in self.folder.folders]


@signed_in
@require_POST
def choose(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Open a folder, choose what is in it, or take something back; the draft remembers it."""
    tool = tool_or_404(request, slug)
    owner = user_of(request)
    shown = _panel(owner, drafts.contents(owner, slug).fields.get("connected", ()))
    act = _Act(request.POST)
    shown.at = next((one for one in shown.connections if str(one.uid) == act.at), None)
    try:
        _carry_out(act, shown)
    except StoreError as error:
        shown.error = wording.text(error.code, error.params)
    tokens = [pick.token for pick in shown.picks]
    drafts.place(owner, slug, {"connected": tokens})
    if htmx_of(request):
        context = {"tool": tool, "connected": shown}
        return TemplateResponse(request, "batches/_connected.html", context)
    query = urlencode({"at": act.at, "in": act.folder})
    return redirect(f"{reverse('batches:new', args=[slug])}?{query}#connected")


def panel(request: HttpRequest, tokens: Sequence[str]) -> Panel | None:
    """What is shown of somebody's accounts; nothing for strangers.

    Without a script the address says which folder to look into: `?at=<uid>&in=<folder>`.
    """
    if not request.user.is_authenticated:
        return None
    shown = _panel(user_of(request), tokens)
    at = request.GET.get("at", "")
    shown.at = next((one for one in shown.connections if str(one.uid) == at), None)
    if shown.at and request.method == "GET":
        try:
            shown.folder = _look(shown.at, request.GET.get("in", ""))
        except StoreError as error:
            shown.error = wording.text(error.code, error.params)
    return shown


def _panel(owner: User, tokens: Sequence[str]) -> Panel:
    own = list(Connection.objects.visible_to(owner).order_by("name"))
    return Panel(own, [pick for token in tokens if (pick := Pick.from_token(token))])


@dataclass
class _Act:
    """What a button of the panel asks for."""

    data: QueryDict
    at: str = field(init=False)
    verb: str = field(init=False)
    value: str = field(init=False)

    def __post_init__(self) -> None:
        self.at = self.data.get("connected_at", "")
        self.verb, _colon, self.value = self.data.get("do", "").partition(":")

    @property
    def folder(self) -> str:
        """The folder to show next."""
        return self.value if self.verb == "open" else self.data.get("connected_in", "")


def _carry_out(act: _Act, shown: Panel) -> None:
    """Change what was chosen, then look into the folder. Raises `StoreError`."""
    if act.verb == "remove":
        shown.picks = [pick for pick in shown.picks if pick.token != act.value]
    if shown.at is None:
        return
    if act.verb in {"folder", "tree"}:
        found = connections.pictures_in(shown.at, act.value, recursive=act.verb == "tree")
        count = sum(1 for _found in islice(found, MOST_COUNTED))
        if count:
            _choose(shown, Pick(str(shown.at.uid), act.verb, act.value, count))
        else:
            shown.error = _("There is no image in this folder. Choose another one.")
    elif act.verb == "files":
        for path in act.data.getlist("connected_pick"):
            if pick := Pick.from_token(Pick(str(shown.at.uid), "file", path, 1).token):
                _choose(shown, pick)
    shown.folder = _look(shown.at, act.folder)


def _choose(shown: Panel, pick: Pick) -> None:
    """Add something; the same again, counted anew, takes the place of the earlier."""
    same = (pick.connection, pick.kind, pick.path)
    others = [one for one in shown.picks if (one.connection, one.kind, one.path) != same]
    shown.picks = [*others, pick]


def _look(connection: Connection, folder: str) -> Folder:
    return connections.browse(connection, folder, most=MOST_SHOWN)
