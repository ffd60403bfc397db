"""Real workers and a database server that ends their connections: PostgreSQL only."""

import pytest
from django.db import connection

from batches.states import BatchState
from tests.worker.conftest import wait_for
from tests.worker.test_workers import make_batch, state_of

pytestmark = [pytest.mark.worker, pytest.mark.django_db(transaction=True)]


def test_a_database_connection_that_was_cut_between_jobs_is_opened_again(alice, start):
    first = make_batch(alice, 1)
    worker = start("worker", "cpu")
    wait_for(lambda: state_of(first) == BatchState.FINISHED)

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        cut = cursor.fetchone()[0]
    second = make_batch(alice, 1)
    wait_for(lambda: state_of(second) == BatchState.FINISHED)

    assert cut >= 1
    assert worker.poll() is None
