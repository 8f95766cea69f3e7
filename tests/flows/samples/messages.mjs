// The contract's message by the official Node client: prints the answer as JSON.
import { readFileSync } from "node:fs";
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ baseURL: "https://lumyx-ai.site/api/v1", apiKey: "lx-..." });
const answer = await client.messages.create(JSON.parse(readFileSync(process.argv[2], "utf8")));
process.stdout.write(JSON.stringify(answer));
