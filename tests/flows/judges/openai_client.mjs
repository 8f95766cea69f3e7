// Does jobs with openai-node, and tells what its user sees. See the package's docstring.
import { readFileSync } from "node:fs";
import OpenAI from "openai";

const [baseURL, apiKey] = process.argv.slice(2);

const seenUsage = (usage) => {
  if (!usage) return null;
  const read = usage.prompt_tokens_details?.cached_tokens ?? 0;
  const written = usage.prompt_tokens_details?.cache_write_tokens ?? 0;
  return { input: usage.prompt_tokens - read - written, cache_read: read, cache_write: written, output: usage.completion_tokens };
};

const seenAnswer = (answer) => {
  const [choice] = answer.choices;
  const message = choice.message;
  return {
    text: message.content ?? "",
    refusal: message.refusal ?? "",
    reasoning: message.reasoning_content ?? "",
    details: message.reasoning_details ?? [],
    tools: (message.tool_calls ?? []).map((call) => ({
      id: call.id, name: call.function.name, arguments: JSON.parse(call.function.arguments),
    })),
    finish: choice.finish_reason,
    usage: seenUsage(answer.usage),
    id: answer.id,
    model: answer.model,
    request_id: answer._request_id ?? null,
  };
};

const readStream = async (client, params, seen) => {
  Object.assign(seen, { text: "", reasoning: "", refusal: "", details: [], usage: null, finish: null, chunks: 0 });
  const calls = new Map();
  const details = new Map();
  const stream = await client.chat.completions.create({ ...params, stream: true, stream_options: { include_usage: true } });
  for await (const chunk of stream) {
    seen.chunks += 1;
    seen.id = chunk.id;
    seen.model = chunk.model;
    seen.usage = seenUsage(chunk.usage) ?? seen.usage;
    for (const { delta, finish_reason } of chunk.choices) {
      seen.text += delta.content ?? "";
      seen.refusal += delta.refusal ?? "";
      seen.reasoning += delta.reasoning_content ?? "";
      for (const detail of delta.reasoning_details ?? []) {
        const known = details.get(detail.index) ?? { text: "" };
        details.set(detail.index, { ...known, ...detail, text: known.text + (detail.text ?? "") });
      }
      for (const part of delta.tool_calls ?? []) {
        const call = calls.get(part.index) ?? { id: part.id, name: part.function.name, arguments: "" };
        call.arguments += part.function?.arguments ?? "";
        calls.set(part.index, call);
      }
      seen.finish = finish_reason ?? seen.finish;
    }
  }
  seen.tools = [...calls.values()].map((call) => ({ ...call, arguments: JSON.parse(call.arguments) }));
  seen.details = [...details.values()].map(({ text, ...rest }) => (rest.type === "reasoning.text" ? { ...rest, text } : rest));
  return seen;
};

const ask = async (client, params, stream, seen) =>
  stream ? readStream(client, params, seen) : seenAnswer(await client.chat.completions.create(params));

const converse = async (client, { params, results, stream }, seen) => {
  const first = { ...(await ask(client, params, stream, seen)) };
  const calls = first.tools.map((call) => ({
    id: call.id, type: "function", function: { name: call.name, arguments: JSON.stringify(call.arguments) },
  }));
  const said = { role: "assistant", content: first.text || null, tool_calls: calls };
  if (first.details.length) said.reasoning_details = first.details;
  const back = calls.map((call, at) => ({ role: "tool", tool_call_id: call.id, content: results[at] }));
  const second = { ...params, messages: [...params.messages, said, ...back] };
  return { first, ...(await ask(client, second, stream, {})) };
};

const kinds = {
  whole: (client, job) => ask(client, job.params, false, {}),
  stream: (client, job, seen) => ask(client, job.params, true, seen),
  helper: async (client, job) => {
    const runner = client.chat.completions.stream({ ...job.params, stream_options: { include_usage: true } });
    return seenAnswer(await runner.finalChatCompletion());
  },
  parse: async (client, job) => {
    const schema = {
      type: "object", properties: { city: { type: "string" }, people: { type: "integer" } },
      required: ["city", "people"], additionalProperties: false,
    };
    const format = { type: "json_schema", json_schema: { name: "City", strict: true, schema } };
    const answer = await client.chat.completions.create({ ...job.params, response_format: format });
    return { ...seenAnswer(answer), parsed: JSON.parse(answer.choices[0].message.content) };
  },
  converse,
  embed: async (client, job) => {
    const answer = await client.embeddings.create(job.params);
    return { vectors: answer.data.map((item) => item.embedding), model: answer.model, input: answer.usage.prompt_tokens };
  },
  models: async (client, job) => {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    return { ids, one: (await client.models.retrieve(job.model)).id };
  },
  twice: async (client, job) => {
    await ask(client, job.params, false, {});
    return ask(client, job.params, false, {});
  },
};

const told = (error) => ({
  class: error.constructor.name,
  is_api_error: error instanceof OpenAI.APIError && !(error instanceof OpenAI.APIConnectionError),
  status: error.status ?? null,
  code: error.code ?? null,
  type: error.type ?? null,
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
  if (!clients.has(way)) clients.set(way, new OpenAI(options));
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
