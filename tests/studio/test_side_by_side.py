"""Processes of the last release go on working on the tables of this one."""

import pytest
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader

RELEASED = {"accounts": 3, "batches": 7, "credits": 2, "studio": 0}
"""The last migration that the last release (0.5.0) had, by app."""


@pytest.mark.django_db
def test_each_column_that_is_new_has_a_value_where_nobody_gives_one():
    loader = MigrationLoader(connection)

    added = {
        f"{app}.{operation.model_name}.{operation.name}": operation.field
        for (app, name), migration in loader.disk_migrations.items()
        if app in RELEASED and int(name[:4]) > RELEASED[app]
        for operation in migration.operations
        if isinstance(operation, migrations.AddField)
    }

    assert "batches.batch.price_percent" in added
    without = {
        name
        for name, field in added.items()
        if not (field.null or field.has_db_default() or isinstance(field, models.ManyToManyField))
    }
    assert without == set()
