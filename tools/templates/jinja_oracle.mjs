// Renders chat templates with npm's @huggingface/jinja.
//   node jinja_oracle.mjs NODE_MODULES < cases.jsonl > answers.jsonl
// Each line in: {"template", "inputs", "time"}; out: {"text"} or {"error"}.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { resolve } from "node:path";

const modules = resolve(process.argv[2]);
const { Template } = await import(
  pathToFileURL(`${modules}/@huggingface/jinja/dist/index.js`).href
);

const RealDate = Date;
let now = 0;
globalThis.Date = class extends RealDate {
  constructor(...args) {
    if (args.length === 0) super(now * 1000);
    else super(...args);
  }
};

const parsed = new Map();
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  now = request.time ?? 0;
  let answer;
  try {
    if (!parsed.has(request.template)) parsed.set(request.template, new Template(request.template));
    answer = { text: parsed.get(request.template).render(request.inputs) };
  } catch (error) {
    answer = { error: String(error.message ?? error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
