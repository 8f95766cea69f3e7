"""The contract's list of models by the official Python client: prints the answer as JSON."""

import sys

from openai import OpenAI

with OpenAI(base_url="https://lumyx-ai.site/api/v1", api_key="lx-...") as client:
    sys.stdout.write(client.models.list().model_dump_json())
