"""A rendered form as a browser reads it."""

from html.parser import HTMLParser

from django.http import QueryDict


class Form(HTMLParser):
    """The controls, labels and ids of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._select: dict[str, str | None] = {}
        self._sent: list[tuple[str, str]] = []
        self._chosen: str | None = None
        self._typing: dict[str, str | None] | None = None
        self._typed = ""
        self.feed(html)
        self.close()

    @property
    def ids(self) -> list[str]:
        return [given["id"] for _, given in self.tags if given.get("id")]

    @property
    def controls(self) -> list[tuple[str, dict[str, str | None]]]:
        """Those that are sent: a control without a name is for the page alone."""
        tags = {"input", "select", "textarea"}
        return [(tag, given) for tag, given in self.tags if tag in tags and "name" in given]

    def sent(self) -> QueryDict:
        """What a browser sends when nobody has touched anything."""
        query = QueryDict(mutable=True)
        for name, value in self._sent:
            query.appendlist(name, value)
        return query

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append((tag, given))
        if tag == "select":
            self._select, self._chosen = given, None
        elif tag == "textarea":
            self._typing, self._typed = given, ""
        elif tag == "option":
            if self._chosen is None or "selected" in given:
                self._chosen = given["value"]
        elif tag == "input":
            ticked = given["type"] not in {"radio", "checkbox"} or "checked" in given
            if ticked and "disabled" not in given and "name" in given:
                self._sent.append((given["name"], given.get("value") or ""))

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag):
        if tag == "select":
            self._sent.append((self._select["name"], self._chosen))
        elif tag == "textarea":
            self._sent.append((self._typing["name"], self._typed))
            self._typing = None

    def handle_data(self, data):
        self.text += data
        self._typed += data
