"""An OpenAI-compatible server that says what stands in a file, answer after answer, and writes down what it was asked.
  PORT=… scripted_model.py FOLDER     FOLDER/script.json: a list of texts; FOLDER/asked.json: the messages of each request"""
import http.server
import json
import os
import sys
import threading

FOLDER = sys.argv[1]
LOCK = threading.Lock()


def read(name):
    with open(os.path.join(FOLDER, name)) as f:
        return json.load(f)


class Model(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # noqa: N802
        self.answer({"object": "list", "data": [{"id": "sql-model", "object": "model"}]})

    def do_POST(self):  # noqa: N802
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with LOCK:
            asked = read("asked.json") + [body["messages"]]
            with open(os.path.join(FOLDER, "asked.json"), "w") as f:
                json.dump(asked, f)
        self.answer({"id": "x", "object": "chat.completion", "created": 0, "model": body.get("model"), "choices": [
            {"index": 0, "message": {"role": "assistant", "content": read("script.json")[len(asked) - 1]}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}})

    def answer(self, value):
        text = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Model).serve_forever()
