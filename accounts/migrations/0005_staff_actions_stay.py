"""The database itself keeps what staff did as it was written.

As with ledger entries (credits, migration 0002): PostgreSQL refuses UPDATE and DELETE, SQLite
UPDATE, and the model refuses both.
"""

from django.db import migrations

POSTGRESQL = [
    """
    CREATE FUNCTION accounts_staffaction_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'staff actions are append-only (% refused)', TG_OP
            USING ERRCODE = 'restrict_violation';
    END
    $$
    """,
    """
    CREATE TRIGGER accounts_staffaction_append_only
        BEFORE UPDATE OR DELETE ON accounts_staffaction
        FOR EACH ROW EXECUTE FUNCTION accounts_staffaction_is_append_only()
    """,
]
SQLITE = [
    """
    CREATE TRIGGER accounts_staffaction_append_only BEFORE UPDATE ON accounts_staffaction
    BEGIN
        SELECT RAISE(ABORT, 'staff actions are append-only (UPDATE refused)');
    END
    """,
]


def guard(apps, schema_editor):
    statements = {"postgresql": POSTGRESQL, "sqlite": SQLITE}[schema_editor.connection.vendor]
    for statement in statements:
        schema_editor.execute(statement, params=None)


def unguard(apps, schema_editor):
    name = "accounts_staffaction_append_only"
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"DROP TRIGGER {name} ON accounts_staffaction")
        schema_editor.execute("DROP FUNCTION accounts_staffaction_is_append_only()")
    else:
        schema_editor.execute(f"DROP TRIGGER {name}")


def begin_with_the_standard_plan(apps, schema_editor):
    """The plan that everybody has been on, for staff to change."""
    apps.get_model("accounts", "Plan").objects.get_or_create(
        slug="standard", defaults={"name": "Standard", "is_default": True}
    )


class Migration(migrations.Migration):
    dependencies = [("accounts", "0004_plans_and_staff")]
    operations = [
        migrations.RunPython(guard, unguard),
        migrations.RunPython(begin_with_the_standard_plan, migrations.RunPython.noop),
    ]
