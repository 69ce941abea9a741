// Each client against the real server, streaming and not. usage: clients.mjs URL GRPC KEY METRICS [PREFIX]
// URL may be a gateway's; METRICS is the URL of the server that runs the model. GRPC may be "none". PREFIX stands
// before the names of what fails.
import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { anthropicCases } from './anthropic.mjs';
import { grpcCases } from './oip_grpc.mjs';
import { generateText, streamText } from 'ai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { ChatOpenAI } from '@langchain/openai';

const [url, grpcAddress, key, metricsUrl, prefix = ''] = process.argv.slice(2);
const baseURL = url + '/v1';
const model = 'story';
const messages = [{ role: 'user', content: 'What is Sluice?' }];
const client = new OpenAI({ baseURL, apiKey: key, maxRetries: 0 });

async function metric(name) {
  const page = await (await fetch(metricsUrl + '/metrics?view=native', { headers: { Authorization: 'Bearer ' + key } })).text();
  const line = page.split('\n').find((l) => l.startsWith(name + '{') || l.startsWith(name + ' '));
  return Number(line.slice(line.lastIndexOf(' ') + 1));
}

async function eventually(condition) {
  for (let i = 0; i < 200; i++) {
    if (await condition()) return true;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  return false;
}

const cases = {
  'openai: chat': async () => {
    const answer = await client.chat.completions.create({ model, messages, max_tokens: 12, temperature: 0 });
    assert.equal(answer.object, 'chat.completion');
    assert.equal(answer.choices[0].message.role, 'assistant');
    assert.ok(answer.choices[0].message.content.length > 0);
    assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
  },
  'openai: a stream gives the same text': async () => {
    const whole = await client.chat.completions.create({ model, messages, max_tokens: 30, temperature: 0 });
    const stream = await client.chat.completions.create({
      model, messages, max_tokens: 30, temperature: 0, stream: true, stream_options: { include_usage: true },
    });
    let text = '';
    let usage = null;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? '';
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, whole.choices[0].message.content);
    assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
  },
  'openai: the stream helper': async () => {
    const runner = client.chat.completions.stream({ model, messages, max_tokens: 8, temperature: 0 });
    const final = await runner.finalChatCompletion();
    assert.ok(final.choices[0].message.content.length > 0);
  },
  'openai: completions, n and seed': async () => {
    const ask = () => client.completions.create({ model, prompt: 'Once', n: 3, seed: 11, max_tokens: 8, temperature: 1 });
    const [a, b] = [await ask(), await ask()];
    assert.equal(a.choices.length, 3);
    assert.deepEqual(a.choices.map((c) => c.text), b.choices.map((c) => c.text));
    assert.ok(new Set(a.choices.map((c) => c.text)).size > 1);
  },
  'openai: completions stream': async () => {
    let text = '';
    for await (const chunk of await client.completions.create({ model, prompt: 'Once upon', max_tokens: 8, stream: true })) {
      text += chunk.choices[0].text;
    }
    assert.ok(text.length > 0);
  },
  'openai: logprobs': async () => {
    const answer = await client.chat.completions.create({ model, messages, max_tokens: 3, logprobs: true, top_logprobs: 2 });
    const first = answer.choices[0].logprobs.content[0];
    assert.equal(first.top_logprobs.length, 2);
    assert.ok(first.logprob <= 0);
    assert.equal(Buffer.from(first.bytes).toString(), first.token);
  },
  'openai: models': async () => {
    const ids = [];
    for await (const card of client.models.list()) ids.push(card.id);
    assert.deepEqual(ids, [model]);
    assert.equal((await client.models.retrieve(model)).id, model);
  },
  'openai: errors have their classes': async () => {
    await assert.rejects(client.chat.completions.create({ model: 'x', messages }), OpenAI.NotFoundError);
    await assert.rejects(client.chat.completions.create({ model, messages, temperature: -1 }), OpenAI.BadRequestError);
    const stranger = new OpenAI({ baseURL, apiKey: 'wrong', maxRetries: 0 });
    await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
  },
  'openai: an aborted stream frees its place': async () => {
    const stream = await client.chat.completions.create({ model, messages, max_tokens: 900, stream: true, ignore_eos: true });
    for await (const chunk of stream) {
      assert.ok(chunk);
      stream.controller.abort();
      break;
    }
    assert.ok(await eventually(async () => (await metric('sluice_requests_running')) === 0));
    assert.equal(await metric('sluice_kv_cache_usage_ratio'), 0);
  },
  'openai: 16 at once': async () => {
    const ask = (i) => client.chat.completions.create({ model, messages, max_tokens: 20, seed: i, temperature: 1 });
    const answers = await Promise.all(Array.from({ length: 16 }, (_, i) => ask(i)));
    const again = await ask(3);
    assert.equal(again.choices[0].message.content, answers[3].choices[0].message.content);
  },
  'openai: under /openai/v1': async () => {
    const other = new OpenAI({ baseURL: url + '/openai/v1', apiKey: key });
    assert.ok((await other.chat.completions.create({ model, messages, max_tokens: 2 })).id);
  },
  'ai: generateText': async () => {
    const provider = createOpenAICompatible({ name: 'sluice', baseURL, apiKey: key });
    const { text, usage } = await generateText({ model: provider(model), prompt: 'What is Sluice?', maxOutputTokens: 20, temperature: 0 });
    assert.ok(text.length > 0);
    assert.ok(usage.outputTokens > 0);
  },
  'ai: streamText': async () => {
    const provider = createOpenAICompatible({ name: 'sluice', baseURL, apiKey: key });
    const { textStream, finishReason } = streamText({ model: provider(model), prompt: 'Hello', maxOutputTokens: 6, temperature: 0 });
    let text = '';
    for await (const part of textStream) text += part;
    assert.ok(text.length > 0);
    assert.ok(['length', 'stop'].includes(await finishReason));
  },
  'ai: completionModel': async () => {
    const provider = createOpenAICompatible({ name: 'sluice', baseURL, apiKey: key });
    const { text } = await generateText({ model: provider.completionModel(model), prompt: 'Once upon a time', maxOutputTokens: 5 });
    assert.ok(text.length > 0);
  },
  'langchain: invoke': async () => {
    const chat = new ChatOpenAI({ model, apiKey: key, configuration: { baseURL }, maxTokens: 10, temperature: 0 });
    const answer = await chat.invoke('What is Sluice?');
    assert.ok(answer.content.length > 0);
    assert.ok(answer.usage_metadata.output_tokens > 0);
  },
  'langchain: stream and batch': async () => {
    const chat = new ChatOpenAI({ model, apiKey: key, configuration: { baseURL }, maxTokens: 10, temperature: 0 });
    let text = '';
    for await (const part of await chat.stream([['system', 'Be brief.'], ['human', 'Hi']])) text += part.content;
    assert.ok(text.length > 0);
    assert.equal((await chat.batch(['a', 'b', 'c'])).length, 3);
  },
  ...anthropicCases({ url, key, model, metric, eventually }),
  ...(grpcAddress === 'none' ? {} : grpcCases({ address: grpcAddress, key, model, metric, eventually })),
};

let passed = 0;
let failed = 0;
for (const [name, run] of Object.entries(cases)) {
  try {
    await run();
    passed += 1;
  } catch (e) {
    failed += 1;
    console.log('failed: ' + prefix + name + ': ' + String(e.stack ?? e).split('\n').slice(0, 3).join(' | '));
  }
}
console.log(`${passed} passed, ${failed} failed, 0 skipped`);
process.exit(failed ? 1 : 0);
