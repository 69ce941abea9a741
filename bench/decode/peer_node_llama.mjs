// Decoding rate of llama.cpp, as the npm package node-llama-cpp ships it, for bench/decode/run.py.
// usage: node peer_node_llama.mjs --modules FOLDER [--threads N] MODEL.gguf
// FOLDER is where `npm install --ignore-scripts node-llama-cpp @node-llama-cpp/linux-x64` was run.
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const args = process.argv.slice(2);
const option = (name, fallback) => {
  const at = args.indexOf(name);
  return at >= 0 ? args.splice(at, 2)[1] : fallback;
};
const threads = Number(option('--threads', '2'));
const modules = option('--modules', process.cwd());
const modelPath = path.resolve(args[0]);

const require = createRequire(path.join(path.resolve(modules), 'package.json'));
const { getLlama } = await import(pathToFileURL(require.resolve('node-llama-cpp')));
const llama = await getLlama({ gpu: false, build: 'never', skipDownload: true, logLevel: 'error' });
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ contextSize: 1024, threads });
const sequence = context.getSequence();

const prompt = Array.from({ length: 16 }, (_, i) => 1000 + i * 7);
const wanted = 192;
let count = 0;
let first = 0;
let last = 0;
for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
  last = performance.now();
  if (count === 0) first = last;
  count += 1;
  if (count >= wanted) break;
}
console.log('decode_tokens_per_second ' + ((count - 1) / ((last - first) / 1000)).toFixed(3));
process.exit(0);
