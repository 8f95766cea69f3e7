// The contract's embedding by the official Node client: prints the answer as JSON.
import { readFileSync } from "node:fs";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: "https://lumyx-ai.site/api/v1", apiKey: "lx-..." });
const answer = await client.embeddings.create(JSON.parse(readFileSync(process.argv[2], "utf8")));
process.stdout.write(JSON.stringify(answer));
