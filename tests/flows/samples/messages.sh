# The contract's message by cURL: prints the answer as JSON.
curl --silent --show-error https://lumyx-ai.site/api/v1/messages \
  -H "Authorization: Bearer YOUR_API_KEY" \
  -H "Content-Type: application/json" \
  -d @"$1"
