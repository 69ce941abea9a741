// OpenAI's clients before a gateway whose server is asked by Anthropic's protocol. usage: messages.mjs URL KEY DIRECT
// DIRECT is the URL of that server itself, which speaks both.
import assert from 'node:assert/strict';
import OpenAI from 'openai';
import Anthropic from '@anthropic-ai/sdk';
import { streamText } from 'ai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { ChatOpenAI } from '@langchain/openai';

const [url, apiKey, direct] = process.argv.slice(2);
const model = 'story';
const messages = [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'What is Sluice?' }];
const asked = { model, messages, max_tokens: 30, temperature: 0 };
const client = new OpenAI({ baseURL: url + '/v1', apiKey, maxRetries: 0 });
const straight = new OpenAI({ baseURL: direct + '/v1', apiKey, maxRetries: 0 });

const cases = {
  'openai: the answer is the one that the server gives itself': async () => {
    const answer = await client.chat.completions.create(asked);
    const own = await straight.chat.completions.create(asked);
    assert.equal(answer.object, 'chat.completion');
    assert.equal(answer.choices[0].message.content, own.choices[0].message.content);
    assert.equal(answer.choices[0].finish_reason, own.choices[0].finish_reason);
    assert.equal(answer.usage.prompt_tokens, own.usage.prompt_tokens);
    assert.equal(answer.usage.completion_tokens, own.usage.completion_tokens);
  },
  'openai: a stream gives the same text': async () => {
    const own = await straight.chat.completions.create(asked);
    const stream = await client.chat.completions.create({ ...asked, stream: true, stream_options: { include_usage: true } });
    let [text, usage, finish] = ['', null, null];
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? '';
      finish = chunk.choices[0]?.finish_reason ?? finish;
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, own.choices[0].message.content);
    assert.equal(finish, own.choices[0].finish_reason);
    assert.equal(usage.completion_tokens, own.usage.completion_tokens);
  },
  'openai: the stream helper': async () => {
    const final = await client.chat.completions.stream(asked).finalChatCompletion();
    assert.ok(final.choices[0].message.content.length > 0);
  },
  'openai: what cannot be asked is refused by name': async () => {
    await assert.rejects(client.chat.completions.create({ ...asked, n: 2 }), (e) => e.status === 400 && e.param === 'n');
    await assert.rejects(client.completions.create({ model, prompt: 'x' }), (e) => e.status === 404);
  },
  'openai: what the server refuses is told': async () => {
    const long = [{ role: 'user', content: 'word '.repeat(20000) }];
    await assert.rejects(client.chat.completions.create({ ...asked, messages: long }), (e) => e.status >= 400 && e.message.length > 10);
  },
  'ai sdk: a stream': async () => {
    const provider = createOpenAICompatible({ name: 'sluice', baseURL: url + '/v1', apiKey });
    let text = '';
    for await (const part of streamText({ model: provider.chatModel(model), prompt: 'Hello', maxOutputTokens: 8 }).textStream) text += part;
    assert.ok(text.length > 0);
  },
  'langchain: a stream': async () => {
    const chat = new ChatOpenAI({ model, apiKey, maxTokens: 8, temperature: 0, configuration: { baseURL: url + '/v1' } });
    let text = '';
    for await (const chunk of await chat.stream('Hello')) text += chunk.content;
    assert.ok(text.length > 0);
  },
  'anthropic: its own protocol goes through': async () => {
    const own = new Anthropic({ baseURL: url, apiKey, maxRetries: 0 });
    const answer = await own.messages.create({ model, max_tokens: 8, messages: [{ role: 'user', content: 'Hello' }] });
    assert.equal(answer.content[0].type, 'text');
  },
};

let failed = 0;
for (const [name, run] of Object.entries(cases)) {
  try {
    await run();
  } catch (error) {
    failed++;
    console.log(`failed: messages: ${name}: ${error.stack ?? error}`);
  }
}
console.log(`${Object.keys(cases).length - failed} passed, ${failed} failed, 0 skipped`);
process.exit(failed ? 1 : 0);
