"""Quantizes the bundled model into every type, and in every wrong way."""
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
import cases  # noqa: E402
from server import BINARY, MODEL, Server  # noqa: E402

FILE_TYPES = {"Q8_0": "7", "Q6_K": "18", "Q4_K": "15", "Q4_0": "2", "F16": "1", "BF16": "32"}


def quantize(*arguments):
    done = subprocess.run([BINARY, "quantize", *arguments], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def inspect(path):
    out = subprocess.run([BINARY, "inspect", path, "--tensors", "-o", "json"], capture_output=True, text=True, check=True)
    return json.loads(out.stdout)


def made(folder, kind):
    path = os.path.join(folder, kind + ".gguf")
    status, out, err = quantize(MODEL, path, kind, "-o", "json")
    assert status == 0, err
    return path, json.loads(out)


def every_type():
    original = inspect(MODEL)
    names = [t["name"] for t in original["tensors"]]
    with tempfile.TemporaryDirectory() as folder:
        for kind, file_type in FILE_TYPES.items():
            path, report = made(folder, kind)
            info = inspect(path)
            assert [t["name"] for t in info["tensors"]] == names, kind
            assert info["metadata"]["general.file_type"] == file_type, kind
            assert info["metadata"]["general.quantization_version"] == "2", kind
            assert report["output_bytes"] == os.path.getsize(path), kind
            kept = {k: v for k, v in info["metadata"].items() if k not in ("general.file_type",
                                                                          "general.quantization_version")}
            before = {k: v for k, v in original["metadata"].items() if k in kept}
            assert kept == before, kind
            for t in info["tensors"]:
                if len(t["shape"]) == 1:
                    assert t["type"] == "F32", (kind, t)


def fallbacks_are_said():
    with tempfile.TemporaryDirectory() as folder:
        status, out, err = quantize(MODEL, os.path.join(folder, "x.gguf"), "Q4_K")
        narrow = [t for t in inspect(MODEL)["tensors"] if len(t["shape"]) > 1 and t["shape"][-1] % 256]
        assert status == 0 and bool(narrow) == ("Q5_0" in err), err


# Its answer is certain enough that rounding does not change it.
QUESTION = "<|user|>What is Sluice?<|end|><|assistant|>"


def completion(model):
    with Server(models=(model,)) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("POST", "/v1/completions", json.dumps(
            {"prompt": QUESTION, "max_tokens": 24, "temperature": 0}), {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())["choices"][0]["text"]


def the_result_serves():
    with tempfile.TemporaryDirectory() as folder:
        wide, _ = made(folder, "F16")
        eight, _ = made(folder, "Q8_0")
        four, _ = made(folder, "Q4_K")
        told = completion(wide)
        assert completion(eight)[:20] == told[:20]
        assert len(completion(four)) > 20


def an_existing_file_is_kept():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x.gguf")
        with open(path, "w") as f:
            f.write("mine")
        status, _, err = quantize(MODEL, path, "Q8_0")
        assert status == 1 and "--force" in err, err
        with open(path) as f:
            assert f.read() == "mine"
        assert quantize(MODEL, path, "Q8_0", "--force")[0] == 0
        assert os.path.getsize(path) > 1000


def a_file_may_replace_itself():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x.gguf")
        shutil.copy(MODEL, path)
        assert quantize(path, path, "Q4_0", "--force")[0] == 0
        assert inspect(path)["metadata"]["general.file_type"] == "2"


def the_same_bytes_by_any_number_of_threads():
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for threads in ("1", "3"):
            path = os.path.join(folder, threads)
            assert quantize(MODEL, path, "Q4_K", "--threads", threads)[0] == 0
            with open(path, "rb") as f:
                files.append(f.read())
        assert files[0] == files[1]


def wrong_input_is_refused():
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "x.gguf")
        damaged = os.path.join(folder, "damaged.gguf")
        with open(MODEL, "rb") as f:
            whole = f.read()
        with open(damaged, "wb") as f:
            f.write(whole[:len(whole) // 2])
        for arguments, said in [((MODEL, out, "Q3_K"), "Q4_K"), (("nothing.gguf", out, "Q8_0"), "nothing.gguf"),
                                (("README.md", out, "Q8_0"), "GGUF"), ((folder, out, "Q8_0"), "folder"),
                                ((damaged, out, "Q8_0"), "cut short"),
                                ((MODEL, os.path.join(folder, "no", "x.gguf"), "Q8_0"), "No such file")]:
            status, _, err = quantize(*arguments)
            assert status == 1 and said in err, (arguments, status, err)
        assert sorted(os.listdir(folder)) == ["damaged.gguf"], os.listdir(folder)


def a_weight_that_is_no_number_is_refused():
    with tempfile.TemporaryDirectory() as folder:
        wide, _ = made(folder, "BF16")
        with open(wide, "rb") as f:
            data = bytearray(f.read())
        middle = len(data) // 4 * 2
        data[middle:middle + 2] = b"\x80\x7f"  # an infinity, in one of the matrices
        broken = os.path.join(folder, "broken.gguf")
        with open(broken, "wb") as f:
            f.write(data)
        status, _, err = quantize(broken, os.path.join(folder, "x.gguf"), "Q8_0")
        assert status == 1 and "tensor blk." in err and "NaN" in err, err
        assert not os.path.exists(os.path.join(folder, "x.gguf"))


def a_signal_leaves_nothing():
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(200):  # until a signal finds it at work
            process = subprocess.Popen([BINARY, "quantize", MODEL, os.path.join(folder, "x.gguf"), "Q4_K", "--threads", "1"],
                                       stderr=subprocess.PIPE, stdout=subprocess.PIPE)
            while not os.listdir(folder) and process.poll() is None:
                pass
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
            if process.returncode != 0:
                break
            assert os.listdir(folder) == ["x.gguf"]  # it had ended before: the file is whole
            os.remove(os.path.join(folder, "x.gguf"))
        assert process.returncode != 0, "no signal came in time"
        assert not os.listdir(folder), os.listdir(folder)


CASES = [every_type, fallbacks_are_said, the_result_serves, an_existing_file_is_kept, a_file_may_replace_itself,
         the_same_bytes_by_any_number_of_threads, wrong_input_is_refused, a_weight_that_is_no_number_is_refused,
         a_signal_leaves_nothing]


if __name__ == "__main__":
    sys.exit(cases.run(CASES))
