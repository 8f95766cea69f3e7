"""What the owner's contract prints, where several tests compare with it."""

#: The example of GET /api/v1/models, to the letter.
MODEL_LIST = """{
  "object": "list",
  "data": [{
    "id": "lumyx-plus_v1",
    "object": "model",
    "_meta": {
      "displayName": "Lumyx Plus v1",
      "description": "...",
      "contextWindow": 128000,
      "supportsStreaming": true,
      "tags": ["reasoning", "vision", "tools"],
      "pricing": {"input": 0.5, "output": 1.5, "free": false}
    }
  }]
}"""
