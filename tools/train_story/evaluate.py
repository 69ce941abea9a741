"""Measures the finished model: its answers, its stories, and how well names hold.

Answers are judged exactly: an answer counts when every token of the expected one, and the end
after it, is the most likely one at its place. That is what greedy decoding would say.
"""
import argparse
import json
import pathlib
import random
import re
from collections import Counter

import numpy as np

import chat
import off_topic
import stories
import words as W
from infer import Runner
from probe_questions import FREE_QUESTIONS

NAMES = set(W.GIRL_NAMES + W.BOY_NAMES + W.ANIMAL_NAMES) - {"Will"}  # also a plain word


def says(runner, turns, answer):
    """Whether greedy decoding answers exactly this."""
    start = runner.chat_ids(turns)
    want = runner.tok.encode(answer) + [runner.end]
    runner.reset()
    best = runner.forward(start + want).argmax(-1)
    return best[len(start) - 1:-1].tolist() == want


def question_sets(rng):
    """Name of the set -> list of (intent, question)."""
    sets = {"trained wordings": [], "held-out wordings": [], "held-out, with typing noise": []}
    for intent, _, _ in chat.INTENTS:
        kept, out = chat.wordings(intent)
        asks = intent not in chat.STATEMENTS
        mark = "?" if asks else "."
        for group in kept:
            sets["trained wordings"].append((intent, chat.polish(rng.choice(group)) + mark))
        for text in out:
            sets["held-out wordings"].append((intent, chat.polish(text) + mark))
            sets["held-out, with typing noise"].append((intent, chat.noisy(text, rng, asks)))
    sets["free wordings, by hand"] = FREE_QUESTIONS
    sets["off topic"] = [("off/topic", off_topic.draw_off_topic(rng, chat.noisy))
                         for _ in range(200)]
    return sets


def check_answers(runner, verbose):
    figures = {}
    for name, questions in question_sets(random.Random(7)).items():
        right = 0
        for intent, question in questions:
            good = says(runner, [("user", question)], chat.ANSWERS[intent][0])
            right += good
            if verbose and not good:
                said = runner.generate(runner.chat_ids([("user", question)]), 60)
                print("  %-20s %s\n      %s" % (intent, question, runner.tok.decode(said)))
        figures[name] = [right, len(questions)]
        print("%-28s %4d of %4d  (%.1f %%)" % (name, right, len(questions),
                                               100 * right / len(questions)), flush=True)
    return figures


def loose_names(text, known=()):
    """Names that are used without ever having been introduced."""
    introduced = set(known)
    for pattern in (r"named (\w+)", r"(?:friend|Aunt|Uncle) (\w+)", r"(\w+) the [a-z]"):
        introduced.update(re.findall(pattern, text))
    return {w for w in re.findall(r"[A-Z][a-z]+", text) if w in NAMES} - introduced


def story_flaws(text, ended, wish, vocabulary):
    flaws = [] if ended else ["no end"]
    if loose_names(text, {wish.name}):
        flaws.append("name not introduced")
    low = text.lower()
    for kind, asked in (("hero", wish.hero), ("name", wish.name), ("friend", wish.friend),
                        ("object", wish.obj), ("place", wish.place)):
        shown_by_name = kind == "friend" and asked in ("girl", "boy")
        if asked and not shown_by_name and asked.lower() not in low:
            flaws.append("asked-for %s missing" % kind)
    heroes = re.findall(r"named (\w+)", text)
    if heroes and text.count(heroes[0]) < 3:
        flaws.append("hero forgotten")
    if set(re.findall(r"[a-z]+", low)) - vocabulary:
        flaws.append("made-up word")
    return flaws


def check_stories(runner, count, show):
    rng, sampler = random.Random(11), np.random.default_rng(11)
    corpus = random.Random(12)
    vocabulary = set(re.findall(r"[a-z]+", " ".join(
        stories.story(corpus, stories.ask_about(corpus)[1]) for _ in range(6000)).lower()))
    tally, texts, lengths = Counter(), [], []
    for n in range(count):
        question, wish = stories.ask_about(rng)
        ids = runner.generate(runner.chat_ids([("user", question)]), 450, 0.7, sampler)
        text = runner.tok.decode(ids[:-1])
        flaws = story_flaws(text, ids[-1] == runner.end, wish, vocabulary)
        tally.update(flaws or ["none"])
        texts.append(text)
        lengths.append(len(ids))
        if n < show:
            print("\n> %s\n%s\n  flaws: %s" % (question, text, ", ".join(flaws) or "none"))
    figures = {"stories": count, "flaws": dict(tally), "distinct": len(set(texts)),
               "mean tokens": round(float(np.mean(lengths)))}
    print(json.dumps(figures))
    return figures


def check_completions(runner):
    """Plain text without a chat: does the story go on and come to an end?"""
    ended = 0
    sampler = np.random.default_rng(5)
    prompts = ["Once upon a time", "Lily had a red ball.", "The little dog", "One day, Tom",
               "There was once a", "In the forest,", "Ben and Mia", "It was a sunny day."]
    for prompt in prompts * 3:
        ids = runner.generate(runner.tok.encode(prompt), 450, 0.7, sampler)
        ended += ids[-1] == runner.end
    print("plain completions that come to an end: %d of %d" % (ended, 3 * len(prompts)))
    return [ended, 3 * len(prompts)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=pathlib.Path, default=pathlib.Path("models/story.gguf"))
    parser.add_argument("--stories", type=int, default=100)
    parser.add_argument("--show", type=int, default=3, help="how many stories to print")
    parser.add_argument("--verbose", action="store_true", help="print wrong answers")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures here")
    args = parser.parse_args()
    runner = Runner(args.model)
    figures = {"answers": check_answers(runner, args.verbose),
               "stories": check_stories(runner, args.stories, args.show),
               "completions": check_completions(runner)}
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
