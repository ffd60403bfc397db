from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("batches", "0007_sheetpage")]

    operations = [
        migrations.AddField(
            model_name="parcel",
            name="name",
            field=models.TextField(blank=True),
        ),
    ]
