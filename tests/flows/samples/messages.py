"""The contract's message by the official Python client: prints the answer as JSON."""

import json
import sys
from pathlib import Path

from anthropic import Anthropic

with Anthropic(base_url="https://lumyx-ai.site/api/v1", api_key="lx-...") as client:
    answer = client.messages.create(**json.loads(Path(sys.argv[1]).read_text()))
    sys.stdout.write(answer.model_dump_json())
