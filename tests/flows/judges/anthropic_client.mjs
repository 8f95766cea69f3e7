// Does jobs with @anthropic-ai/sdk, and tells what its user sees. See the package's docstring.
import { readFileSync } from "node:fs";
import Anthropic from "@anthropic-ai/sdk";

const [baseURL, apiKey] = process.argv.slice(2);

const seenMessage = (message) => {
  const of = (type) => message.content.filter((block) => block.type === type);
  const usage = message.usage;
  return {
    text: of("text").map((block) => block.text).join(""),
    reasoning: of("thinking").map((block) => block.thinking).join(""),
    tools: of("tool_use").map((block) => ({ id: block.id, name: block.name, arguments: block.input })),
    order: message.content.map((block) => block.type),
    signed: of("thinking").map((block) => Boolean(block.signature)),
    finish: message.stop_reason,
    stop_sequence: message.stop_sequence,
    usage: {
      input: usage.input_tokens,
      cache_read: usage.cache_read_input_tokens ?? 0,
      cache_write: usage.cache_creation_input_tokens ?? 0,
      output: usage.output_tokens,
    },
    id: message.id,
    model: message.model,
    request_id: message._request_id ?? null,
  };
};

const readStream = async (client, params, seen) => {
  Object.assign(seen, { text: "", events: [] });
  const stream = client.messages.stream(params);
  for await (const event of stream) {
    seen.events.push(event.type);
    if (event.type === "content_block_delta" && event.delta.type === "text_delta") seen.text += event.delta.text;
  }
  return stream.finalMessage();
};

const ask = (client, params, stream, seen) => (stream ? readStream(client, params, seen) : client.messages.create(params));

const FIELDS = {
  text: ["type", "text"],
  thinking: ["type", "thinking", "signature"],
  redacted_thinking: ["type", "data"],
  tool_use: ["type", "id", "name", "input"],
};
const sentBack = (block) => Object.fromEntries(FIELDS[block.type].map((name) => [name, block[name]]));

const converse = async (client, { params, results, stream }, seen) => {
  const first = await ask(client, params, stream, seen);
  const said = { role: "assistant", content: first.content.map(sentBack) };
  const back = first.content
    .filter((block) => block.type === "tool_use")
    .map((block, at) => ({ type: "tool_result", tool_use_id: block.id, content: results[at] }));
  const messages = [...params.messages, said, { role: "user", content: back }];
  const second = await ask(client, { ...params, messages }, stream, {});
  return { first: seenMessage(first), ...seenMessage(second) };
};

const kinds = {
  whole: async (client, job) => seenMessage(await ask(client, job.params, false, {})),
  stream: async (client, job, seen) => {
    const message = await ask(client, job.params, true, seen);
    return { events: seen.events, ...seenMessage(message) };
  },
  converse,
  count: async (client, job) => ({ input_tokens: (await client.messages.countTokens(job.params)).input_tokens }),
  models: async (client, job) => {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    const one = await client.models.retrieve(job.model);
    return { ids, one: one.id, name: one.display_name, type: one.type };
  },
  twice: async (client, job) => {
    await client.messages.create(job.params);
    return seenMessage(await client.messages.create(job.params));
  },
};

const told = (error) => ({
  class: error.constructor.name,
  is_api_error: error instanceof Anthropic.APIError && !(error instanceof Anthropic.APIConnectionError),
  status: error.status ?? null,
  code: error.error?.error?.code ?? null,
  type: error.error?.error?.type ?? null,
  request_id: error.requestID ?? null,
  message: error.message,
});

// Python's libraries take fields that they do not know in extra_body; this one takes them as they are.
const flat = ({ extra_body, ...params } = {}) => ({ ...params, ...extra_body });

const clients = new Map();
const results = {};
for (const job of JSON.parse(readFileSync(0, "utf8"))) {
  const options = { baseURL, apiKey: job.key || apiKey, ...(job.retries ? {} : { maxRetries: 0 }) };
  const way = JSON.stringify(options);
  if (!clients.has(way)) clients.set(way, new Anthropic(options));
  const seen = {};
  const began = performance.now();
  let result;
  try {
    result = await kinds[job.kind](clients.get(way), { ...job, params: flat(job.params) }, seen);
  } catch (error) {
    result = { ...seen, error: told(error) };
  }
  results[job.id] = { ...result, seconds: (performance.now() - began) / 1000 };
}
process.stdout.write(JSON.stringify({ version: process.version, results }));
