from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("batches", "0006_webhooks")]

    operations = [
        migrations.RemoveIndex(model_name="batch", name="batch_live"),
        migrations.AddField(
            model_name="sheet",
            name="columns",
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name="sheet",
            name="tabs",
            field=models.JSONField(default=list),
        ),
        migrations.AddIndex(
            model_name="batch",
            index=models.Index(
                condition=models.Q(state__in=["cancelling", "importing", "paused", "running"]),
                fields=["state"],
                name="batch_live",
            ),
        ),
    ]
