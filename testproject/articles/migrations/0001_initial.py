"""The table of articles."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Article",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("title", models.CharField(max_length=120)),
                ("topic", models.CharField(max_length=40)),
                ("body", models.TextField()),
                ("published", models.DateField()),
                ("updated", models.DateTimeField(auto_now=True)),
            ],
            options={"ordering": ("-published", "-pk")},
        ),
    ]
