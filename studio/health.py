"""What the site needs to work, and what of it is not there."""

import redis
from django.conf import settings
from django.db import Error, connection

from batches import dispatch, hosts


def missing() -> list[str]:
    """Names of what does not answer: the database, Valkey, or a worker of some kind."""
    gone = []
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        gone.append("database")
    try:
        client = dispatch.connection()
        gone += [
            f"{queue} worker"
            for queue in settings.RQ_QUEUES
            if not hosts.count(client, queue=queue)
        ]
    except (redis.RedisError, OSError):
        gone.append("valkey")
    return gone
