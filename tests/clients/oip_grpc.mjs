// @grpc/grpc-js with the project's own proto file against the gRPC port.
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const proto = fileURLToPath(new URL('../../proto/open_inference.proto', import.meta.url));

export function grpcCases({ address, key, model, metric, eventually }) {
  const { inference } = grpc.loadPackageDefinition(loadSync(proto, { keepCase: true, longs: Number, defaults: true }));
  const client = new inference.GRPCInferenceService(address, grpc.credentials.createInsecure());
  const metadata = (secret) => {
    const headers = new grpc.Metadata();
    if (secret) headers.set('authorization', 'Bearer ' + secret);
    return headers;
  };
  const call = (method, request, { secret = key, ...options } = {}) =>
    new Promise((resolve, reject) => {
      client[method](request, metadata(secret), options, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
  const input = (...texts) => ({ name: 'text_input', datatype: 'BYTES', shape: [texts.length], contents: { bytes_contents: texts.map((t) => Buffer.from(t)) } });
  const parameters = (more) => ({ temperature: { double_param: 0 }, max_tokens: { int64_param: 6 }, ...more });
  const infer = (more, options) => call('ModelInfer', { model_name: model, inputs: [input('Once upon a time')], parameters: parameters(), ...more }, options);
  const texts = (answer) => answer.outputs[0].contents.bytes_contents.map(String);
  const rejects = (promise, code) => assert.rejects(promise, (e) => e.code === code);

  return {
    'grpc-js: live, ready, metadata': async () => {
      assert.equal((await call('ServerLive', {})).live, true);
      assert.equal((await call('ServerReady', {})).ready, true);
      assert.equal((await call('ModelReady', { name: model, version: '1' })).ready, true);
      assert.equal((await call('ServerMetadata', {})).name, 'sluice');
      const about = await call('ModelMetadata', { name: model });
      assert.deepEqual(about.versions, ['1']);
      assert.deepEqual(about.inputs, [{ name: 'text_input', datatype: 'BYTES', shape: [-1] }]);
    },
    'grpc-js: infer': async () => {
      const answer = await infer({ id: '7', inputs: [input('Once upon a time', 'The dog')] });
      assert.equal(answer.model_name, model);
      assert.equal(answer.id, '7');
      assert.equal(texts(answer).length, 2);
      assert.equal(answer.parameters.completion_tokens.int64_param, 12);
      assert.deepEqual(answer.outputs.map((o) => o.name), ['text_output', 'finish_reason']);
    },
    'grpc-js: raw contents come back raw': async () => {
      const text = Buffer.from('Once upon a time');
      const length = Buffer.alloc(4);
      length.writeUInt32LE(text.length);
      const raw = await infer({ inputs: [{ name: 'text_input', datatype: 'BYTES', shape: [1] }], raw_input_contents: [Buffer.concat([length, text])] });
      const plain = await infer();
      assert.equal(raw.raw_output_contents[0].subarray(4).toString(), texts(plain)[0]);
    },
    'grpc-js: a stream gives the same text': async () => {
      const whole = texts(await infer())[0];
      const stream = client.ModelStreamInfer(metadata(key));
      const request = { model_name: model, inputs: [input('Once upon a time')], parameters: parameters() };
      stream.write(request);
      stream.write({ ...request, model_name: 'other' });
      stream.write(request);
      stream.end();
      const answers = [''];
      let problem = '';
      for await (const message of stream) {
        if (message.error_message) {
          problem = message.error_message;
          continue;
        }
        answers[answers.length - 1] += texts(message.infer_response)[0];
        if (message.infer_response.parameters.triton_final_response.bool_param) answers.push('');
      }
      assert.deepEqual(answers, [whole, whole, '']);
      assert.match(problem, /does not exist/);
    },
    'grpc-js: errors have their codes': async () => {
      const { status } = grpc;
      await rejects(infer({ model_name: 'other' }), status.NOT_FOUND);
      await rejects(infer({ model_version: '9' }), status.NOT_FOUND);
      await rejects(infer({ inputs: [] }), status.INVALID_ARGUMENT);
      await rejects(infer({ parameters: parameters({ frobnicate: { bool_param: true } }) }), status.INVALID_ARGUMENT);
      await rejects(infer({ inputs: [{ ...input('a'), shape: [2 ** 40, 2 ** 40] }] }), status.INVALID_ARGUMENT);
      await rejects(infer({}, { secret: 'wrong' }), status.UNAUTHENTICATED);
      await rejects(infer({}, { secret: '' }), status.UNAUTHENTICATED);
      await rejects(call('RepositoryModelLoad', { model_name: model }), status.PERMISSION_DENIED);
    },
    'grpc-js: a message over the limit': async () => {
      await rejects(infer({ inputs: [input('x'.repeat(9 << 20))] }), grpc.status.RESOURCE_EXHAUSTED);
    },
    'grpc-js: a deadline ends the call and frees its place': async () => {
      // Sampled: a text that repeats itself would be guessed ahead, and be over too soon.
      const long = { max_tokens: { int64_param: 900 }, ignore_eos: { bool_param: true }, temperature: { double_param: 1.5 } };
      await rejects(infer({ parameters: long }, { deadline: Date.now() + 30 }), grpc.status.DEADLINE_EXCEEDED);
      assert.ok(await eventually(async () => (await metric('sluice_requests_running')) === 0));
    },
    'grpc-js: a cancelled stream frees its place': async () => {
      const stream = client.ModelStreamInfer(metadata(key));
      stream.on('error', () => {});
      stream.write({ model_name: model, inputs: [input('Once')], parameters: { max_tokens: { int64_param: 900 }, ignore_eos: { bool_param: true } } });
      await new Promise((resolve) => stream.once('data', resolve));
      stream.cancel();
      assert.ok(await eventually(async () => (await metric('sluice_requests_running')) === 0));
    },
    'grpc-js: 16 at once': async () => {
      const answers = await Promise.all(Array.from({ length: 16 }, () => infer()));
      assert.equal(new Set(answers.map((a) => texts(a)[0])).size, 1);
      client.close();
    },
  };
}
