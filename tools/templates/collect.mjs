// Gathers the chat templates of tokenizer packages.
//   node collect.mjs NODE_MODULES > templates.json
// Prints {"<package>[:<name>]": {"template", "tokens": {bos_token, eos_token, …}}}.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const scope = join(process.argv[2], "@lenml");
const names = ["bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token"];
const collected = {};

for (const folder of readdirSync(scope).sort()) {
  const path = join(scope, folder, "models", "tokenizer_config.json");
  if (!folder.startsWith("tokenizer-") || !existsSync(path)) continue;
  const config = JSON.parse(readFileSync(path, "utf8"));
  const tokens = {};
  for (const name of names) {
    const token = config[name];
    if (typeof token === "string") tokens[name] = token;
    else if (token?.content) tokens[name] = token.content;
  }
  const label = folder.slice("tokenizer-".length);
  const templates = config.chat_template;
  if (typeof templates === "string") {
    collected[label] = { template: templates, tokens };
  } else if (Array.isArray(templates)) {
    for (const { name, template } of templates) {
      collected[`${label}:${name}`] = { template, tokens };
    }
  }
}
process.stdout.write(JSON.stringify(collected, null, 1) + "\n");
