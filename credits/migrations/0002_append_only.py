"""The database itself keeps ledger entries as they were written.

PostgreSQL refuses UPDATE and DELETE of any row, whoever asks. TRUNCATE fires no row
trigger, and that is wanted: it needs the owner's rights, and it is how a test database is
emptied. SQLite has no TRUNCATE: there Django empties tables with a plain DELETE, which a
trigger could not tell from a forger's. So on SQLite the trigger guards UPDATE only, and
against DELETE stand the model and its QuerySet, which refuse it on both databases.

Django alters a table of SQLite by building it anew, and triggers do not survive that: a
later migration that alters this table has to create the trigger again (a test looks).
"""

from django.db import migrations

POSTGRESQL = [
    """
    CREATE FUNCTION credits_ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'ledger entries are append-only (% refused)', TG_OP
            USING ERRCODE = 'restrict_violation';
    END
    $$
    """,
    """
    CREATE TRIGGER credits_ledger_append_only BEFORE UPDATE OR DELETE ON credits_ledgerentry
        FOR EACH ROW EXECUTE FUNCTION credits_ledger_is_append_only()
    """,
]
SQLITE = [
    """
    CREATE TRIGGER credits_ledger_append_only BEFORE UPDATE ON credits_ledgerentry
    BEGIN
        SELECT RAISE(ABORT, 'ledger entries are append-only (UPDATE refused)');
    END
    """,
]


def guard(apps, schema_editor):
    statements = {"postgresql": POSTGRESQL, "sqlite": SQLITE}[schema_editor.connection.vendor]
    for statement in statements:
        schema_editor.execute(statement, params=None)


def unguard(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP TRIGGER credits_ledger_append_only ON credits_ledgerentry")
        schema_editor.execute("DROP FUNCTION credits_ledger_is_append_only()")
    else:
        schema_editor.execute("DROP TRIGGER credits_ledger_append_only")


class Migration(migrations.Migration):
    dependencies = [("credits", "0001_initial")]
    operations = [migrations.RunPython(guard, unguard)]
