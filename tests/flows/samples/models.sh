# The contract's list of models by cURL: prints the answer as JSON.
curl --silent --show-error https://lumyx-ai.site/api/v1/models -H "Authorization: Bearer YOUR_API_KEY"
