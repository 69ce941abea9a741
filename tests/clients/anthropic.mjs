// Anthropic's SDK against /v1/messages.
import assert from 'node:assert/strict';
import Anthropic from '@anthropic-ai/sdk';

export function anthropicCases({ url, key, model, metric, eventually }) {
  const client = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0 });
  const messages = [{ role: 'user', content: 'What is Sluice?' }];
  const ask = (more) => client.messages.create({ model, messages, max_tokens: 12, temperature: 0, ...more });
  const inputOf = (usage) => usage.input_tokens + usage.cache_read_input_tokens;

  return {
    'anthropic: a message': async () => {
      const answer = await ask();
      assert.equal(answer.type, 'message');
      assert.equal(answer.role, 'assistant');
      assert.equal(answer.model, model);
      assert.ok(answer.content[0].text.length > 0);
      assert.ok(['end_turn', 'max_tokens'].includes(answer.stop_reason));
      assert.ok(answer.usage.output_tokens > 0);
    },
    'anthropic: a stream gives the same text': async () => {
      const whole = await ask();
      const events = [];
      let text = '';
      for await (const event of await ask({ stream: true })) {
        events.push(event.type);
        if (event.type === 'content_block_delta') text += event.delta.text;
        if (event.type === 'message_delta') assert.equal(event.usage.output_tokens, whole.usage.output_tokens);
      }
      assert.equal(text, whole.content[0].text);
      assert.equal(events[0], 'message_start');
      assert.equal(events[1], 'content_block_start');
      assert.deepEqual(events.slice(-3), ['content_block_stop', 'message_delta', 'message_stop']);
    },
    'anthropic: the stream helper': async () => {
      const whole = await ask();
      const stream = client.messages.stream({ model, messages, max_tokens: 12, temperature: 0 });
      let pieces = '';
      stream.on('text', (piece) => { pieces += piece; });
      const final = await stream.finalMessage();
      assert.equal(final.content[0].text, whole.content[0].text);
      assert.equal(pieces, whole.content[0].text);
      assert.equal(final.stop_reason, whole.stop_reason);
      assert.equal(final.usage.output_tokens, whole.usage.output_tokens);
      assert.equal(inputOf(final.usage), inputOf(whole.usage));
      assert.ok(stream.request_id.startsWith('req_'));
    },
    'anthropic: a stop sequence': async () => {
      const whole = await ask();
      const stop = whole.content[0].text.slice(3, 5);
      const answer = await ask({ stop_sequences: [stop] });
      assert.equal(answer.stop_reason, 'stop_sequence');
      assert.equal(answer.stop_sequence, stop);
      assert.ok(whole.content[0].text.startsWith(answer.content[0]?.text ?? ''));
    },
    'anthropic: a system prompt, blocks, a beginning': async () => {
      const answer = await client.messages.create({
        model, max_tokens: 4, system: [{ type: 'text', text: 'You are brief.' }],
        messages: [{ role: 'user', content: [{ type: 'text', text: 'Hello' }] }, { role: 'assistant', content: 'Hello!' }],
      });
      assert.equal(answer.usage.output_tokens > 0, true);
    },
    'anthropic: count_tokens agrees with usage': async () => {
      const { input_tokens } = await client.messages.countTokens({ model, messages, system: 'Be brief.' });
      const answer = await ask({ system: 'Be brief.' });
      assert.equal(inputOf(answer.usage), input_tokens);
    },
    'anthropic: a bearer token': async () => {
      const other = new Anthropic({ baseURL: url, apiKey: null, authToken: key, maxRetries: 0 });
      assert.ok((await other.messages.create({ model, messages, max_tokens: 2 })).id.startsWith('msg_'));
    },
    'anthropic: errors have their classes': async () => {
      await assert.rejects(ask({ model: 'x' }), Anthropic.NotFoundError);
      await assert.rejects(ask({ temperature: 7 }), Anthropic.BadRequestError);
      await assert.rejects(ask({ tools: [{ name: 't', input_schema: { type: 'object' } }] }), (e) => {
        assert.ok(e instanceof Anthropic.BadRequestError);
        assert.equal(e.error.error.type, 'invalid_request_error');
        assert.match(e.error.error.message, /'tools'/);
        assert.ok(e.requestID.startsWith('req_'));
        return true;
      });
      const stranger = new Anthropic({ baseURL: url, apiKey: 'wrong', maxRetries: 0 });
      await assert.rejects(stranger.messages.create({ model, messages, max_tokens: 2 }), Anthropic.AuthenticationError);
    },
    'anthropic: an aborted stream frees its place': async () => {
      const stream = await client.messages.create({ model, max_tokens: 900, stream: true, temperature: 1, messages: [{ role: 'user', content: 'Tell me a story.' }] });
      for await (const event of stream) {
        if (event.type === 'content_block_delta') {
          stream.controller.abort();
          break;
        }
      }
      assert.ok(await eventually(async () => (await metric('sluice_requests_running')) === 0));
    },
  };
}
