"""The site's settings for tests: real PostgreSQL, real Valkey, files in a throw-away folder.

``STUDIO_TEST_DATABASE=sqlite`` runs the same suite on SQLite.
"""

import os
from pathlib import Path

from tests import servers

servers.ensure()
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # for rembg, which our results are held against

_on_sqlite = os.environ.get("STUDIO_TEST_DATABASE") == "sqlite"
if _on_sqlite:
    os.environ["DATABASE_URL"] = f"sqlite:///{os.environ['STUDIO_TEST_DATA_DIR']}/test-base.sqlite3"

from studio.settings import *
from studio.settings import CACHES, DATABASES, RQ_QUEUES, STORAGES

# Tests don't collect static files; WhiteNoise warns of a folder that isn't there.
STATIC_ROOT = Path(os.environ["STUDIO_TEST_DATA_DIR"], "static")
STATIC_ROOT.mkdir(exist_ok=True)

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES["staticfiles"] = {
    "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage",
}
if _on_sqlite:
    # A file, not memory: worker processes and threads share it.
    DATABASES["default"]["TEST"] = {
        "NAME": f"{os.environ['STUDIO_TEST_DATA_DIR']}/test.sqlite3",
    }

if not _on_sqlite:
    # A machine that runs two suites at once may think for long in the middle of a transaction.
    _options = DATABASES["default"]["OPTIONS"]
    _options["options"] = _options["options"].replace("session_timeout=15s", "session_timeout=90s")

# One Valkey database per xdist worker.
REDIS_DB = 1 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
for _queue in RQ_QUEUES.values():
    _queue["URL"] = f"{os.environ['REDIS_URL']}?db={REDIS_DB}"
CACHES["default"]["LOCATION"] = f"{os.environ['REDIS_URL']}?db={REDIS_DB}"
