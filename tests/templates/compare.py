"""Renders every template with every request by Sluice and by two other implementations, and compares.

  compare.py --render RENDER_CASES --modules NODE_MODULES [--templates FOLDER] [--random N]

The last line is "N passed, N failed, N skipped". A case passes when Sluice's text equals python3-jinja2's,
or both fail (with the template's own message where it calls raise_exception), and @huggingface/jinja agrees
or differs from python3-jinja2 in a way that README.md lists.
"""
import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tools", "templates")]
import conversations  # noqa: E402
import jinja_oracle  # noqa: E402

NOW = 1721952000.0  # 26 July 2024


def collect(modules, folder):
    found = {}
    if modules:
        script = os.path.join(ROOT, "tools", "templates", "collect.mjs")
        found = json.loads(subprocess.run(["node", script, modules], check=True,
                                          capture_output=True).stdout)
    if folder:
        for name in sorted(os.listdir(folder)):
            if name.endswith(".jinja"):
                with open(os.path.join(folder, name), encoding="utf-8") as f:
                    found[name] = {"template": f.read(), "tokens": {"bos_token": "<s>", "eos_token": "</s>"}}
    return found


def sluice_answers(binary, cases):
    with tempfile.TemporaryDirectory() as folder:
        source, target = os.path.join(folder, "cases"), os.path.join(folder, "answers")
        with open(source, "w", encoding="utf-8") as f:
            f.writelines(json.dumps(case, ensure_ascii=False) + "\n" for case in cases)
        subprocess.run([binary, source, target], check=True, env=dict(os.environ, TZ="UTC"))
        with open(target, encoding="utf-8") as f:
            return [json.loads(line) for line in f]


def js_answers(modules, cases):
    script = os.path.join(ROOT, "tools", "templates", "jinja_oracle.mjs")
    text = "".join(json.dumps(case) + "\n" for case in cases)
    done = subprocess.run(["node", script, modules], input=text.encode(), check=True, capture_output=True,
                          env=dict(os.environ, TZ="UTC"))
    return [json.loads(line) for line in done.stdout.decode().split("\n") if line]


def same(ours, oracle):
    if "error" in oracle:
        return "error" in ours and (not oracle["raised"] or ours["error"] == oracle["error"])
    return "segments" in ours and "".join(text for text, _ in ours["segments"]) == oracle["text"]


def explain(case, python, javascript):
    """Why @huggingface/jinja does not do as python3-jinja2, or None. README.md tells more of each."""
    if python.get("text") == javascript.get("text"):
        return ""
    if "error" in javascript and "text" in python:
        return "refuses a value of another type"
    if "error" in python and "text" in javascript:
        return "selects nothing by 'undefined'" if python["raised"] else "takes a value of another type"
    plain = [answer["text"].replace("\ufeff", "").replace("1.5e-07", "1.5e-7") for answer in (python, javascript)]
    if plain[0] == plain[1]:
        return "trims U+FEFF, writes 1.5e-7"
    if "strip('" in case["template"] and "".join(plain[0].split()) == "".join(plain[1].split()):
        return "strips spaces, whatever characters strip() is given"
    messages = case["inputs"].get("messages", [])
    if "message == " in case["template"] and any(m in messages[:i] for i, m in enumerate(messages)):
        return "tells equal dicts apart"
    if any(not isinstance(message.get("content"), str) for message in messages):
        return "prints what is no string as JSON"
    if "!= false" in case["template"] and messages and messages[0]["content"] == "":
        return "holds '' for false"
    return None


def neutral(value):
    """The request with the forged tokens made harmless, of the same shape."""
    if isinstance(value, str):
        return value.replace(conversations.FORGED, "f" * len(conversations.FORGED))
    if isinstance(value, dict):
        return {neutral(key): neutral(item) for key, item in value.items()}
    if isinstance(value, list):
        return [neutral(item) for item in value]
    return value


def trusted_text(answer):
    return [text for text, trusted in answer["segments"] if trusted]


def check_forging(binary, cases, answers):
    """Trusted text must not change when the caller's text does."""
    chosen = [i for i, case in enumerate(cases) if "forged" in case["name"] and "segments" in answers[i]]
    harmless = sluice_answers(binary, [
        dict(cases[i], inputs=dict(neutral({k: v for k, v in cases[i]["inputs"].items()
                                            if not k.endswith("_token")}),
                                   **{k: v for k, v in cases[i]["inputs"].items() if k.endswith("_token")}))
        for i in chosen])
    for i, plain in zip(chosen, harmless):
        if "segments" not in plain or trusted_text(plain) != trusted_text(answers[i]):
            yield "%s: forged text became trusted" % cases[i]["name"]
    if not chosen:
        yield "no case with forged tokens was rendered"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--render", required=True)
    parser.add_argument("--modules")
    parser.add_argument("--templates")
    parser.add_argument("--random", type=int, default=0)
    options = parser.parse_args()

    cases = []
    templates = collect(options.modules, options.templates)
    for label, entry in templates.items():
        for name, variables in conversations.requests(options.random):
            cases.append({"name": "%s, %s" % (label, name), "label": label, "template": entry["template"],
                          "inputs": dict(variables, **entry["tokens"]), "time": NOW})
    answers = sluice_answers(options.render, cases)
    oracle = [jinja_oracle.render(case["template"], case["inputs"], NOW) for case in cases]
    failures = []
    raised = 0
    for case, ours, theirs in zip(cases, answers, oracle):
        raised += "error" in theirs
        if not same(ours, theirs):
            failures.append("%s: expected %s, found %s" % (case["name"], json.dumps(theirs)[-300:],
                                                           json.dumps(ours)[-300:]))
    disputes = collections.Counter()
    if options.modules:
        for case, javascript, python in zip(cases, js_answers(options.modules, cases), oracle):
            reason = explain(case, python, javascript)
            if reason != "":
                disputes[reason] += 1
            if reason is None:
                failures.append("%s: unexplained: python3-jinja2 %s, @huggingface/jinja %s" % (
                    case["name"], json.dumps(python)[-300:], json.dumps(javascript)[-300:]))
    failures += check_forging(options.render, cases, answers)
    print("%d templates, %d cases; python3-jinja2 refuses %d" % (len(templates), len(cases), raised))
    for reason, count in disputes.most_common():
        print("@huggingface/jinja %s: %d" % (reason, count))
    for failure in failures[:40]:
        print("failed: " + failure)
    print("%d passed, %d failed, 0 skipped" % (len(cases) - min(len(failures), len(cases)), len(failures)))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
