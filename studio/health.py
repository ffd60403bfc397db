"""What the site needs to work, and what of it is not there."""

import redis
from django.conf import settings
from django.db import Error, connection

from batches import dispatch
from studio.worker import workers_there


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
            if not workers_there(client, queue=queue)
        ]
    except (redis.RedisError, OSError):
        gone.append("valkey")
    return gone
