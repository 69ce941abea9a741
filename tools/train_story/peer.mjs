// Asks llama.cpp, through npm's node-llama-cpp, for token ids and greedy continuations.
// node peer.mjs FOLDER_WITH_NODE_MODULES MODEL < requests.json > replies.json
// A request is {text} or {text, generate: N}; `text` is read with its special tokens.
// A reply is {tokens, greedy}; greedy decoding goes on past the end token.
import {readFileSync} from "node:fs";
import path from "node:path";
import {pathToFileURL} from "node:url";

const [folder, modelPath] = process.argv.slice(2);
const entry = path.resolve(folder, "node_modules/node-llama-cpp/dist/index.js");
const {getLlama} = await import(pathToFileURL(entry));
const llama = await getLlama({gpu: false, build: "never", skipDownload: true, logLevel: "error"});
const model = await llama.loadModel({modelPath: path.resolve(modelPath)});
const context = await model.createContext({contextSize: 1024, threads: 1});
const sequence = context.getSequence();

const replies = [];
for (const {text, generate} of JSON.parse(readFileSync(0, "utf8"))) {
  const tokens = model.tokenize(text, true);
  const greedy = [];
  if (generate) {
    await sequence.clearHistory();
    // The iterator ends by itself at an end token; the rest is asked for again behind it.
    let pending = tokens;
    while (greedy.length < generate) {
      const before = greedy.length;
      for await (const token of sequence.evaluate(pending, {temperature: 0,
                                                            yieldEogToken: true})) {
        greedy.push(token);
        if (greedy.length === generate) break;
      }
      if (greedy.length === before) break;
      pending = greedy.slice(-1);
    }
  }
  replies.push({tokens: [...tokens], greedy});
}
process.stdout.write(JSON.stringify(replies));
await llama.dispose();
