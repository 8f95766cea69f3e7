# The contract's chat completion as a stream, by cURL: prints its events.
curl --silent --show-error --no-buffer https://lumyx-ai.site/api/v1/chat/completions \
  -H "Authorization: Bearer YOUR_API_KEY" \
  -H "Content-Type: application/json" \
  -d @"$1"
