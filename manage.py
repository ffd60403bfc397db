#!/usr/bin/env python
"""Django's command line for the studio."""

import atexit
import gc
import os
import sys


def main() -> None:
    """Run the command that the arguments name."""
    # Starting makes a million objects that stay. Not looking for garbage among them at every
    # 700th, nor once more at the end, makes each command a third of a second shorter.
    gc.set_threshold(50_000, 20, 20)
    atexit.register(gc.freeze)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "studio.settings")
    from django.core.management import execute_from_command_line

    from studio import embedded

    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        embedded.prepare(sys.argv[1])
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
