// Writes what other implementations make of a corpus, for tests/tokenizers.
//
//   node oracle.mjs rust|js MODULES TOKENIZER_JSON CORPUS OUT_IDS [OUT_DECODED]
//
// rust: the `tokenizers` library itself, through npm's @anush008/tokenizers. js: its port in
// @huggingface/tokenizers. MODULES: the folder that holds node_modules. See make_corpus.py for the
// corpus. Special tokens are recognised and added; decoding keeps them.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import fs from "node:fs";
import path from "node:path";
import readline from "node:readline";

const [engine, modules, model, corpus, outIds, outDecoded] = process.argv.slice(2);
const require = createRequire(path.resolve(modules, "package.json"));

async function open() {
  if (engine === "rust") {
    const { Tokenizer } = require("@anush008/tokenizers");
    const t = Tokenizer.fromFile(model);
    return {
      encode: async (text) =>
        Array.from((await t.encode(text, null, { addSpecialTokens: true })).getIds()),
      decode: (ids) => (outDecoded ? t.decode(ids, false) : ""),
    };
  }
  const entry = path.resolve(modules, "node_modules/@huggingface/tokenizers/dist/tokenizers.mjs");
  const { Tokenizer } = await import(pathToFileURL(entry).href);
  const t = new Tokenizer(JSON.parse(fs.readFileSync(model, "utf8")), {
    clean_up_tokenization_spaces: false,
  });
  return {
    encode: async (text) => Array.from(t.encode(text).ids),
    decode: async (ids) => (outDecoded ? t.decode(ids, { skip_special_tokens: false }) : ""),
  };
}

const tokenizer = await open();
const ids = fs.createWriteStream(outIds);
const decoded = outDecoded ? fs.createWriteStream(outDecoded) : null;
for await (const line of readline.createInterface({ input: fs.createReadStream(corpus) })) {
  const value = JSON.parse(line);
  const list = await tokenizer.encode(typeof value === "string" ? value : value.text);
  ids.write(JSON.stringify(list) + "\n");
  const text = decoded && list.length ? await tokenizer.decode(list) : "";
  decoded?.write(JSON.stringify(text) + "\n");
}
ids.end();
decoded?.end();
