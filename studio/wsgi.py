"""The WSGI door that gunicorn opens."""

import os
from collections.abc import Callable, Iterable
from tempfile import SpooledTemporaryFile
from typing import Any

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "studio.settings")

LONGEST_CHUNKED = 64 * 1024 * 1024
"""Bytes of a body whose length nobody has announced; more than any view takes."""
KEPT_IN_MEMORY = 1024 * 1024
PIECE = 64 * 1024

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def with_a_length(application: Application) -> Application:
    """Read bodies that come in chunks to their end, so that they have a length like all others.

    WSGI tells the end of a body by its length alone: Django takes one that announces none for
    empty, though gunicorn has taken it out of its chunks. What goes on beyond all limits is cut
    off there, and is refused by whoever finds it too long.
    """

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        chunked = "HTTP_TRANSFER_ENCODING" in environ and environ.get("wsgi.input_terminated")
        if not chunked or environ.get("CONTENT_LENGTH"):
            return application(environ, start_response)
        with SpooledTemporaryFile(max_size=KEPT_IN_MEMORY) as body:
            length = 0
            while length <= LONGEST_CHUNKED and (piece := environ["wsgi.input"].read(PIECE)):
                length += body.write(piece)
            body.seek(0)
            return application(
                environ | {"wsgi.input": body, "CONTENT_LENGTH": str(length)}, start_response
            )

    return answer


application = with_a_length(get_wsgi_application())
