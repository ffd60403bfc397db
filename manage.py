#!/usr/bin/env python
"""Django's command line for the studio."""

import os
import sys


def main() -> None:
    """Run the command that the arguments name."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "studio.settings")
    from django.core.management import execute_from_command_line

    from studio import embedded

    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        embedded.prepare(sys.argv[1])
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
