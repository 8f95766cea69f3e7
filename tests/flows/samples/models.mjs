// The contract's list of models by the official Node client: prints the answer as JSON.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: "https://lumyx-ai.site/api/v1", apiKey: "lx-..." });
const page = await client.models.list();
process.stdout.write(JSON.stringify({ object: page.object, data: page.data }));
