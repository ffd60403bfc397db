"""Where one installation keeps its files.

Everything that belongs to the users of a site lies in the *data directory*
(database, media, secret key, sockets, logs). Everything that belongs to the
installation and can be fetched again lies in the *weights directory* and in
``var/`` (weights, compile caches, collected static files).
"""

import fcntl
import os
import secrets
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LONGEST_SOCKET_PATH = 100
"""Bytes. The kernel takes 107; a few are kept back for temporary names."""


@dataclass(frozen=True)
class DataDirectory:
    """The data directory's layout; creates what is missing, tolerates what is not its own."""

    root: Path

    @property
    def database(self) -> Path:
        """The SQLite file of the embedded database."""
        return self.root / "db.sqlite3"

    @property
    def media(self) -> Path:
        """Originals and results, when they are kept on the local disk."""
        return self.root / "media"

    @property
    def run(self) -> Path:
        """Sockets and pid files of running processes."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """One log file per supervised process."""
        return self.root / "logs"

    @property
    def mail(self) -> Path:
        """Mails, one file each, on a site that has no mail server."""
        return self.root / "mail"

    def prepare(self) -> None:
        """Create the folders. Safe to call from many processes at once."""
        for folder in (self.root, self.media, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        self.run.mkdir(mode=0o700, exist_ok=True)
        self.run.chmod(0o700)

    def secret_key(self) -> str:
        """The site's secret key, made once and kept in a file only the owner reads."""
        return self._kept("secret-key", lambda: secrets.token_urlsafe(64))

    def credentials_key(self) -> str:
        """The key of people's credentials for other services, made and kept likewise."""
        return self._kept("credentials-key", lambda: urlsafe_b64encode(os.urandom(32)).decode())

    def _kept(self, name: str, make: Callable[[], str]) -> str:
        path = self.root / name
        try:
            return path.read_text().strip()
        except FileNotFoundError:
            pass
        handle, draft = tempfile.mkstemp(dir=self.root, prefix=f".{name}-")
        with os.fdopen(handle, "w") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # fails when another process was faster: its key counts
        except FileExistsError:
            pass
        finally:
            Path(draft).unlink()
        return path.read_text().strip()

    def socket(self) -> Path:
        """The path to bind or to dial for the embedded Valkey.

        A path that is too long for the kernel is replaced by one in a fresh private
        temporary folder, which ``run/valkey.sock`` links to.
        """
        path = self.run / "valkey.sock"
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            return path
        with (self.run / "socket.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two processes must agree on one folder
            if path.is_symlink():
                target = path.readlink()
                if _is_private(target.parent):
                    return target
            # A link to a folder that is gone, or a socket from before the directory was moved.
            path.unlink(missing_ok=True)
            target = Path(tempfile.mkdtemp(prefix="studio-")) / "valkey.sock"
            path.symlink_to(target)
            return target


def _is_private(folder: Path) -> bool:
    """Whether the folder is there, ours, and closed to everybody else."""
    try:
        info = folder.lstat()
    except FileNotFoundError:
        return False
    return folder.is_dir() and info.st_uid == os.getuid() and info.st_mode & 0o077 == 0
