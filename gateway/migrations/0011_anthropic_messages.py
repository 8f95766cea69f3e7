"""Upstreams may speak Anthropic's Messages protocol."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Changes the choices; the column stays as it is."""

    dependencies = [("gateway", "0010_one_check_of_usage")]
    operations = [
        migrations.AlterField(
            model_name="upstream",
            name="protocol",
            field=models.CharField(
                choices=[
                    ("openai_chat", "OpenAI chat completions"),
                    ("anthropic_messages", "Anthropic Messages"),
                    ("sandbox", "Sandbox"),
                ],
                max_length=20,
            ),
        )
    ]
