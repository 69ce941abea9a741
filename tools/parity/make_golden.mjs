// Makes the parity test's golden files with an independent engine: node-llama-cpp (llama.cpp).
//
//   npm install --prefix DIR --ignore-scripts --omit=optional \
//       node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1
//   node make_golden.mjs DIR MODELS GOLDEN [NAME…]
//
// MODELS is generate.py's folder. One thread, F32 KV cache, no flash attention, one position at a
// time or a whole prompt as the engine likes. Format of what is written: tests/parity/README.md.
import {readFileSync, writeFileSync, mkdirSync} from "node:fs";
import {createRequire} from "node:module";
import path from "node:path";
import {pathToFileURL} from "node:url";

const TOP = 16;          // likeliest tokens kept of every position
const STEP = 2048;       // log-probabilities are stored as -round(p * STEP), at most 65535
const FULL_EVERY = 32;   // of every so many positions the whole distribution is kept
const GREEDY_PROMPT = 8;
const GREEDY_TOKENS = 64;

const [dir, models, golden, ...names] = process.argv.slice(2);
if (!golden) {
    console.error("usage: node make_golden.mjs NODE_MODULES_PARENT MODELS GOLDEN [NAME…]");
    process.exit(2);
}
const modulePath = path.resolve(dir, "node_modules", "node-llama-cpp");
const {getLlama} = await import(pathToFileURL(path.join(modulePath, "dist", "index.js")).href);
const {version} = createRequire(import.meta.url)(path.join(modulePath, "package.json"));
const manifest = JSON.parse(readFileSync(path.join(models, "manifest.json"), "utf8"));
const llama = await getLlama({gpu: false, build: "never", skipDownload: true, logLevel: "error"});
mkdirSync(golden, {recursive: true});

function logSoftmax(logits, vocab) {
    const x = new Float64Array(vocab).fill(-Infinity);
    for (const [token, value] of logits) x[token] = value;
    const max = x.reduce((a, b) => Math.max(a, b));
    const sum = x.reduce((a, v) => a + Math.exp(v - max), 0);
    return x.map((v) => v - max - Math.log(sum));
}

const quantized = (p) => Math.min(Math.round(-p * STEP), 65535);
const base64 = (values) => Buffer.from(Uint16Array.from(values).buffer).toString("base64");

async function distributions(sequence, prompt, vocab) {
    await sequence.clearHistory();
    const input = prompt.map((t) => [t, {generateNext: {token: true, logits: true,
        options: {temperature: 0}}}]);
    const output = await sequence.controlledEvaluate(input);
    return output.map((o) => logSoftmax(o.next.logits, vocab));
}

async function greedy(sequence, prompt) {
    await sequence.clearHistory();
    const out = [];
    for await (const token of sequence.evaluate(prompt, {temperature: 0, yieldEogToken: true})) {
        out.push(token);
        if (out.length === GREEDY_TOKENS) break;
    }
    return out;
}

async function makeOne(name, entry) {
    const model = await llama.loadModel({modelPath: path.join(models, name + ".gguf"),
        gpuLayers: 0, useMmap: true});
    const context = await model.createContext({contextSize: manifest.context, sequences: 1,
        batchSize: manifest.context, threads: {ideal: 1, min: 1}, flashAttention: false,
        experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32"});
    const sequence = context.getSequence();
    const ids = [], logprobs = [], full = [];
    let position = 0;
    for (const prompt of manifest.prompts) {
        for (const p of await distributions(sequence, prompt, manifest.vocab)) {
            const order = [...p.keys()].sort((a, b) => p[b] - p[a] || a - b);
            for (const token of order.slice(0, TOP)) {
                ids.push(token);
                logprobs.push(quantized(p[token]));
            }
            if (position++ % FULL_EVERY === FULL_EVERY - 1) full.push(...p.map(quantized));
        }
    }
    const out = {model: name, engine: `node-llama-cpp ${version}`, sha256: entry.sha256,
        kind: entry.kind, vocab: manifest.vocab, context: manifest.context, top: TOP, step: STEP,
        full_every: FULL_EVERY, ids: base64(ids), logprobs: base64(logprobs), full: base64(full)};
    if (entry.kind === "F32") {
        out.greedy = await greedy(sequence, manifest.prompts[0].slice(0, GREEDY_PROMPT));
    }
    writeFileSync(path.join(golden, name + ".json"), JSON.stringify(out, null, 1) + "\n");
    await context.dispose();
    await model.dispose();
    return position;
}

for (const [name, entry] of Object.entries(manifest.models)) {
    if (names.length > 0 && !names.includes(name)) continue;
    console.log(name, await makeOne(name, entry), "positions");
}
writeFileSync(path.join(golden, "prompts.json"), JSON.stringify(manifest.prompts) + "\n");
process.exit(0);
