"""The reference as HTML."""

import re
from functools import cache

from django.conf import settings
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from batches import messages
from studio.reference.reading import read
from studio.reference.refusals import REFUSALS, Refusal
from studio.reference.values import PREFIX
from studio.schema import openapi_document

FIRST_CALL = """\
KEY=sk_live_…

curl "{base}/me" \\
  -H "Authorization: Bearer $KEY\""""

STORY = """\
# A photo in. The answer has its "id".
curl "{base}/uploads" \\
  -H "Authorization: Bearer $KEY" \\
  -F file=@mug.jpg

# A batch of it, and of an address.
curl "{base}/batches" \\
  -H "Authorization: Bearer $KEY" \\
  -H "Idempotency-Key: order-4711" \\
  -H "Content-Type: application/json" \\
  -d '{{
    "tool": "remove-background",
    "images": [
      {{"upload": "'$UPLOAD'"}},
      {{"url": "https://shop.example.com/cup.jpg"}}
    ]
  }}'

# Again and again, until "status" is "finished".
curl "{base}/batches/$BATCH" \\
  -H "Authorization: Bearer $KEY"

# All results in one file.
curl -o results.zip "{base}/batches/$BATCH/results.zip" \\
  -H "Authorization: Bearer $KEY\""""


@cache
def rendered(language: str) -> SafeString:  # noqa: ARG001
    """The reference in the active language, which the caller names.

    It changes only with the code, and is the same for everybody: once per process is enough.
    """
    site = settings.SITE_URL.rstrip("/")
    base = site + PREFIX.rstrip("/")
    context = {
        "reference": read(openapi_document(), base=site),
        "base_url": base,
        "first_call": FIRST_CALL.format(base=base),
        "story": STORY.format(base=base),
        "refusals": REFUSALS,
        "failures": [
            Refusal(status=0, code=code, text=text)
            for code, text in messages.TEXTS.items()
            if "." not in code
        ],
        "reads": settings.API_READS_PER_HOUR,
        "writes": settings.API_WRITES_PER_HOUR,
    }
    return _without_indentation(render_to_string("studio/reference/_content.html", context))


def _without_indentation(html: str) -> SafeString:
    """The same without what stands before a line, but for what is preformatted.

    Templates are written to be read: indentation is a third of what they make here.
    """
    parts = re.split(r"(<pre\b.*?</pre>)", html, flags=re.DOTALL)
    return SafeString(
        "".join(
            part if part.startswith("<pre") else re.sub(r"\s*\n\s*", "\n", part) for part in parts
        )
    )
