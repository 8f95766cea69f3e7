// The contract's error by the official Node client: prints status, class and body as JSON.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: "https://lumyx-ai.site/api/v1", apiKey: "lx-..." });
try {
  await client.chat.completions.create({ model: "lumyx-plus_v1", messages: [{ role: "user", content: "Hello" }] });
} catch (error) {
  const seen = { status: error.status, class: error.constructor.name, body: { error: error.error } };
  process.stdout.write(JSON.stringify(seen));
}
