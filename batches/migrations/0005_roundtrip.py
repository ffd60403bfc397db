from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("batches", "0004_sheets_deliveries_library")]

    operations = [
        migrations.AddField(
            model_name="result",
            name="crc32",
            field=models.PositiveBigIntegerField(editable=False, null=True),
        ),
    ]
