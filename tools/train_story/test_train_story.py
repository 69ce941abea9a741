"""Tests of the generator, the tokenizer and the file format; they need numpy but no torch.

python3 -m unittest discover -s tools/train_story
"""
import json
import pathlib
import random
import tempfile
import unittest

import numpy as np

import bpe
import chat
import corpus
import evaluate
import gguf
import golden
import off_topic
import stories
import world
from infer import Runner
from probe_questions import FREE_QUESTIONS


class Stories(unittest.TestCase):
    def test_every_name_is_introduced_and_no_markup_is_left(self):
        rng = random.Random(1)
        for _ in range(3000):
            _, wish = stories.ask_about(rng)
            text = stories.story(rng, wish)
            self.assertFalse(evaluate.loose_names(text, {wish.name}), text)
            self.assertNotRegex(text, r"[\[\]{}|]|  | [.,]|[.,!?][.,]|[a-z]\"", text)
            self.assertNotRegex(text, r"\b[Aa] [aeio]", text)

    def test_a_story_holds_what_was_asked_for(self):
        rng = random.Random(2)
        for _ in range(2000):
            question, wish = stories.ask_about(rng)
            text = stories.story(rng, wish).lower()
            for asked in (wish.hero, wish.friend, wish.obj, wish.place, wish.name):
                if asked and not (asked == wish.friend and asked in ("girl", "boy")):
                    self.assertIn(asked.lower(), text, question)

    def test_there_are_many_plots_and_all_are_used(self):
        self.assertGreaterEqual(len(stories.PLOTS), 25)
        self.assertEqual(len({p[0] for p in stories.PLOTS}), len(stories.PLOTS))
        for name, tags, theme, lines in stories.PLOTS:
            text = " ".join(lines)
            self.assertIn(theme, stories.ENDINGS)
            for tag in tags:
                self.assertRegex(text, r"\{%s[.}]" % tag, name)

    def test_same_seed_same_story(self):
        self.assertEqual(stories.story(random.Random(3)), stories.story(random.Random(3)))
        texts = {stories.story(random.Random(n)) for n in range(500)}
        self.assertEqual(len(texts), 500)

    def test_capitals_and_articles(self):
        self.assertEqual(world.polish('a owl said, "hi." "wait!" cried a ant. it ran.'),
                         'An owl said, "Hi." "Wait!" cried an ant. It ran.')


class Chats(unittest.TestCase):
    def test_intents_have_enough_wordings_and_share_none(self):
        owner = {}
        for intent, _, _ in chat.INTENTS:
            kept, out = chat.wordings(intent)
            self.assertGreaterEqual(sum(map(len, kept)), 12 if "sluice/" in intent else 8, intent)
            for text in sum(kept, []) + out:
                self.assertEqual(owner.setdefault(text, intent), intent, text)

    def test_held_out_wordings_never_reach_training(self):
        rng = random.Random(4)
        held = {t for i, _, _ in chat.INTENTS for t in chat.wordings(i)[1]}
        held -= {t for i, _, _ in chat.INTENTS for g in chat.wordings(i)[0] for t in g}
        for _ in range(4000):
            for role, text in chat.question_chat(rng):
                if role == "user":
                    self.assertFalse(text.lower().rstrip("?. !") in held, text)

    def test_free_questions_are_no_training_texts(self):
        known = {i for i, _, _ in chat.INTENTS} | {"off/topic"}
        trained = {t for i, _, _ in chat.INTENTS for g in chat.wordings(i)[0] for t in g}
        for intent, question in FREE_QUESTIONS:
            self.assertIn(intent, known)
            self.assertFalse(question.lower().rstrip("?.! ") in trained, question)

    def test_off_topic_questions_are_complete(self):
        rng = random.Random(5)
        for _ in range(2000):
            self.assertNotRegex(off_topic.draw_off_topic(rng, lambda t, _: t), r"[\[\]{}]")


class Tokens(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        rng = random.Random(6)
        cls.text = [stories.story(rng) for _ in range(200)]
        cls.tok = bpe.Tokenizer(bpe.train(cls.text, 600))

    def test_round_trip(self):
        for text in self.text[:20] + ["caf\u00e9 \u4f60\u597d \U0001f98a", "", " \n\t x  ",
                                      "<|end|>"]:
            self.assertEqual(self.tok.decode(self.tok.encode(text)), text)

    def test_special_tokens_only_where_wanted(self):
        end = self.tok.special("end")
        self.assertEqual(self.tok.encode("<|end|>", specials=True), [end])
        self.assertNotIn(end, self.tok.encode("<|end|>"))

    def test_only_the_assistant_is_learned(self):
        ids, mask = corpus.encode_chat(self.tok, [("user", "hi"), ("assistant", "yes")])
        learned = [i for i, m in zip(ids, mask) if m]
        self.assertEqual(self.tok.decode(learned), "yes<|end|>")


class Files(unittest.TestCase):
    def test_write_and_read(self):
        weights = np.random.default_rng(7).normal(size=(8, 64)).astype(np.float32)
        weights[3] = 0
        out = gguf.Writer()
        out.put("a.text", gguf.STR, "caf\u00e9")
        out.put_array("a.list", gguf.I32, [1, -2, 3])
        out.tensor("m", weights)
        out.tensor("v", weights[0])
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "x.gguf"
            out.write(path)
            back = gguf.Reader(path)
        self.assertEqual(back.meta, {"a.text": "caf\u00e9", "a.list": [1, -2, 3]})
        np.testing.assert_array_equal(back.tensors["v"], weights[0])
        bound = np.abs(weights).reshape(-1, 32).max(1) * (0.5 / 127 + 2 ** -11)
        error = np.abs(back.tensors["m"] - weights).reshape(-1, 32).max(1)
        self.assertTrue((error <= bound).all())


class BundledModel(unittest.TestCase):
    """The committed model file agrees with the text that stands here and with llama.cpp."""

    @classmethod
    def setUpClass(cls):
        models = pathlib.Path(__file__).resolve().parents[2] / "models"
        cls.path = models / "story.gguf"
        cls.runner = Runner(cls.path)
        cls.golden = json.loads((models / "story_golden.json").read_text())

    def test_it_is_small_and_stops_at_the_end_of_a_turn(self):
        self.assertLessEqual(self.path.stat().st_size, 4_000_000)
        self.assertEqual(self.runner.tok.tokens[self.runner.end], "<|end|>")

    def test_token_ids_are_those_of_llama_cpp(self):
        for case in self.golden["tokenize"]:
            self.assertEqual(self.runner.tok.encode(case["text"], specials=True), case["tokens"])

    def test_greedy_tokens_are_those_of_llama_cpp(self):
        for case in self.golden["greedy"]:
            _, gap = golden.compare_greedy(self.runner, case["tokens"], case["greedy"])
            self.assertLess(gap, golden.MAX_GAP, case["prompt"])

    def test_it_knows_the_answer_to_every_question(self):
        for intent, patterns, answers in chat.INTENTS:
            kept, _ = chat.wordings(intent)
            mark = "." if intent in chat.STATEMENTS else "?"
            known = sum(evaluate.says(self.runner, [("user", world.polish(g[0]) + mark)],
                                      answers[0]) for g in kept)
            self.assertGreater(known, 0, intent)


if __name__ == "__main__":
    unittest.main()
