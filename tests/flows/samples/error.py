"""The contract's error by the official Python client: prints status, class and body as JSON."""

import json
import sys

import openai

with openai.OpenAI(base_url="https://lumyx-ai.site/api/v1", api_key="lx-...") as client:
    try:
        client.chat.completions.create(model="lumyx-plus_v1", messages=[{"role": "user", "content": "Hello"}])
    except openai.APIStatusError as error:
        seen = {"status": error.status_code, "class": type(error).__name__, "body": error.response.json()}
        sys.stdout.write(json.dumps(seen))
