"""Reads what the tools print: a list of rows with prompt, tokens, streams and the rates of both phases."""
import json
import re


def llama_bench(items):
    rows = []
    for item in items:
        rate = item["avg_ts"]
        prompt, tokens = item["n_prompt"], item["n_gen"]
        rows.append({"prompt": prompt, "tokens": tokens, "streams": 1,
                     "prompt_tok_s": rate if prompt and not tokens else None, "tok_s": rate if tokens else None})
    return rows


def batched_table(text):
    rows = []
    for line in text.split("\n"):
        cells = [c.strip() for c in line.strip().strip("|").split("|")]
        if len(cells) == 10 and all(re.fullmatch(r"[\d.]+", c) for c in cells):
            v = [float(c) for c in cells]
            rows.append({"prompt": int(v[0]), "tokens": int(v[1]), "streams": int(v[2]), "prompt_tok_s": v[5],
                         "tok_s": v[7]})
    return rows


def json_lines(text):
    rows = []
    for line in text.split("\n"):
        if line.startswith("{"):
            row = json.loads(line)
            if "tok_s" in row or "prompt_tok_s" in row:
                rows.append(row)
    return rows


def parse(text):
    begin, end = text.find("["), text.rfind("]")
    if begin >= 0 and end > begin:
        try:
            return llama_bench(json.loads(text[begin:end + 1]))
        except (ValueError, KeyError, TypeError):
            pass
    return batched_table(text) or json_lines(text)
