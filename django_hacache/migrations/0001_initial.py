"""Creates no table: it lets `migrate` make the permission to view the cluster."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Cluster",
            fields=[("id", models.BigAutoField(primary_key=True, serialize=False))],
            options={
                "verbose_name": "cache cluster",
                "verbose_name_plural": "cache cluster",
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
    ]
