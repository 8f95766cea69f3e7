# The contract's error by cURL: prints status and body as JSON.
curl --silent --show-error https://lumyx-ai.site/api/v1/chat/completions \
  -H "Authorization: Bearer YOUR_API_KEY" \
  -H "Content-Type: application/json" \
  -d '{"model": "lumyx-plus_v1", "messages": [{"role": "user", "content": "Hello"}]}' \
  --write-out '\n%{http_code}'
