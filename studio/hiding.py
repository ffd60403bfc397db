"""What is struck out of log lines and reports: secrets, links that open something, addresses.

It goes by how they look, because messages of libraries and databases repeat what they were given.
"""

import re

KEPT = "[kept here]"
"""Stands where something was struck out."""

# Bounded, and begun only where a word begins: a long line must not take long.
_SHAPES = re.compile(
    r"""
    (?<=://)[^/\s"'@:]{0,200}:[^/\s"'@]{0,200}(?=@)          # name and password in an address
    | (?<=\bBearer[ ])[^\s"',]+ | (?<=\bBasic[ ])[^\s"',]+
    | \b(?:sk_live_|whsec_)[\w+/=-]+
    | (?<=/password/reset/)(?!sent/)[^/\s"']+/[^/\s"']+
    | (?<![\w.=-])[\w.=-]{1,4000}:(?:[\w-]{6}:)?[\w-]{43}\b          # what Django has signed
    | \b(?i:token|sig|signature|secret|password|key|x-amz-[\w-]+)=[^&\s"',]+
    # An e-mail address, and no picture `mug@2x.png`.
    | (?<![\w.+%-])[\w.+%-]{1,254}@(?:[\w-]{1,63}\.){1,9}
      (?!(?:png|jpe?g|webp|avif|gif|heic)\b)[a-zA-Z]{2,}
    """,
    re.VERBOSE,
)


def hide(text: str) -> str:
    """The text without them."""
    return _SHAPES.sub(KEPT, text)
