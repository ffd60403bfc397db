from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("batches", "0006_direct_uploads"),
    ]

    operations = [
        migrations.AddField(
            model_name="webhookendpoint",
            name="envelope",
            field=models.CharField(
                choices=[
                    ("standard", "Standard Webhooks"),
                    ("sirv", "As Sirv AI Studio writes them"),
                ],
                default="standard",
                editable=False,
                max_length=8,
            ),
        ),
    ]
