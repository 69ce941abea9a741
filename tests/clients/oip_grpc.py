"""python3-grpcio against the gRPC port, with classes that protoc makes of the project's proto file.
usage: oip_grpc.py ADDRESS KEY ADMIN_KEY PID, where the last case tells the server to stop"""
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

import grpc

ADDRESS, KEY, ADMIN_KEY, PID = sys.argv[1:5]
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
SERVICE = "/inference.GRPCInferenceService/"

folder = tempfile.TemporaryDirectory()
subprocess.run(["protoc", "--proto_path=" + os.path.join(ROOT, "proto"), "--python_out=" + folder.name,
                "open_inference.proto"], check=True)
sys.path.insert(0, folder.name)
import open_inference_pb2 as pb  # noqa: E402

channel = grpc.insecure_channel(ADDRESS)


def call(method, request, answer_type, key=KEY, timeout=30):
    ask = channel.unary_unary(SERVICE + method, request_serializer=type(request).SerializeToString,
                              response_deserializer=answer_type.FromString)
    return ask(request, timeout=timeout, metadata=[("authorization", "Bearer " + key)] if key else [])


def request(*texts, **parameters):
    out = pb.ModelInferRequest(model_name="story")
    tensor = out.inputs.add(name="text_input", datatype="BYTES", shape=[len(texts)])
    tensor.contents.bytes_contents.extend(t.encode() for t in texts)
    out.parameters["temperature"].double_param = 0
    for name, value in parameters.items():
        out.parameters[name].int64_param = value
    return out


def infer(message, **options):
    return call("ModelInfer", message, pb.ModelInferResponse, **options)


def code_of(function):
    try:
        function()
    except grpc.RpcError as e:
        return e.code()
    return grpc.StatusCode.OK


def metadata():
    assert call("ServerLive", pb.ServerLiveRequest(), pb.ServerLiveResponse).live
    assert call("ModelReady", pb.ModelReadyRequest(name="story"), pb.ModelReadyResponse).ready
    about = call("ModelMetadata", pb.ModelMetadataRequest(name="story"), pb.ModelMetadataResponse)
    assert [t.name for t in about.outputs] == ["text_output", "finish_reason"], about


def inference():
    answer = infer(request("Once upon a time", "The dog", max_tokens=5))
    assert len(answer.outputs[0].contents.bytes_contents) == 2, answer
    assert answer.parameters["completion_tokens"].int64_param == 10, answer
    assert infer(request("Once upon a time", "The dog", max_tokens=5)) == answer


def raw_contents():
    message = request("Once", max_tokens=3)
    plain = infer(message).outputs[0].contents.bytes_contents[0]
    message.inputs[0].ClearField("contents")
    message.raw_input_contents.append(struct.pack("<I", 4) + b"Once")
    raw = infer(message)
    assert raw.raw_output_contents[0][4:] == plain, raw
    message.raw_input_contents[0] = b"\xff\xff\xff\x7fOnce"
    assert code_of(lambda: infer(message)) == grpc.StatusCode.INVALID_ARGUMENT
    message.raw_input_contents[0] = struct.pack("<I", 1) + b"\xff"
    assert code_of(lambda: infer(message)) == grpc.StatusCode.INVALID_ARGUMENT


def streamed():
    ask = channel.stream_stream(SERVICE + "ModelStreamInfer",
                                request_serializer=pb.ModelInferRequest.SerializeToString,
                                response_deserializer=pb.ModelStreamInferResponse.FromString)
    whole = infer(request("Once upon a time", max_tokens=6)).outputs[0].contents.bytes_contents[0]
    answers = ask(iter([request("Once upon a time", max_tokens=6)]), timeout=30,
                  metadata=[("authorization", "Bearer " + KEY)])
    pieces = [a.infer_response.outputs[0].contents.bytes_contents[0] for a in answers]
    assert b"".join(pieces) == whole, (pieces, whole)
    assert len(pieces) > 1
    refused = ask(iter([]), timeout=30)
    assert code_of(lambda: list(refused)) == grpc.StatusCode.UNAUTHENTICATED


def repository():
    load = pb.RepositoryModelLoadRequest(model_name="story")
    assert code_of(lambda: call("RepositoryModelLoad", load, pb.RepositoryModelLoadResponse)) == \
        grpc.StatusCode.PERMISSION_DENIED
    assert call("RepositoryModelLoad", load, pb.RepositoryModelLoadResponse, key=ADMIN_KEY).isLoaded
    unload = pb.RepositoryModelUnloadRequest(model_name="story")
    assert code_of(lambda: call("RepositoryModelUnload", unload, pb.RepositoryModelUnloadResponse,
                                key=ADMIN_KEY)) == grpc.StatusCode.UNIMPLEMENTED


def health():
    """grpc.health.v1 needs no key; its messages are one field each."""
    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    assert check(b"", timeout=30) == b"\x08\x01"


def errors():
    assert code_of(lambda: infer(request("x"), key="")) == grpc.StatusCode.UNAUTHENTICATED
    assert code_of(lambda: infer(request("x", max_tokens=-1))) == grpc.StatusCode.INVALID_ARGUMENT
    assert code_of(lambda: infer(request("x" * (9 << 20)))) == grpc.StatusCode.RESOURCE_EXHAUSTED
    garbage = channel.unary_unary(SERVICE + "ModelInfer")
    assert code_of(lambda: garbage(b"\xff" * 64, timeout=30)) not in (grpc.StatusCode.OK,
                                                                     grpc.StatusCode.UNAVAILABLE)
    unknown = channel.unary_unary(SERVICE + "Nothing")
    assert code_of(lambda: unknown(b"", timeout=30)) == grpc.StatusCode.UNIMPLEMENTED


def strangers():
    """Bytes of other protocols end their connection and nothing else."""
    host, port = ADDRESS.rsplit(":", 1)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for first in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"\xff" * 4096,
                  preface + b"\xff" * 64, preface + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" * 20000,
                  preface + b"\x00\x40\x00\x01\x04\x00\x00\x00\x01" + b"\x00" * 0x4000):
        with socket.create_connection((host, int(port)), 10) as s:
            try:
                s.sendall(first)
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
            except OSError:
                pass
    assert call("ServerLive", pb.ServerLiveRequest(), pb.ServerLiveResponse).live


def draining():
    """While an answer is under way nothing new begins; the answer comes whole."""
    long = request("Once", max_tokens=900)
    long.parameters["temperature"].double_param = 1.5
    long.parameters["ignore_eos"].bool_param = True
    ask = channel.unary_unary(SERVICE + "ModelInfer", request_serializer=pb.ModelInferRequest.SerializeToString,
                              response_deserializer=pb.ModelInferResponse.FromString)
    answers = [ask.future(long, timeout=300, metadata=[("authorization", "Bearer " + KEY)]) for _ in range(8)]
    infer(request("Once", max_tokens=1))  # the others, sent before, have been accepted
    os.kill(int(PID), signal.SIGTERM)
    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    until = time.monotonic() + 30
    while check(b"", timeout=30) == b"\x08\x01" and time.monotonic() < until:
        time.sleep(0.005)
    assert check(b"", timeout=30) == b"\x08\x02"
    assert not call("ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse).ready
    assert code_of(lambda: infer(request("x", max_tokens=1))) == grpc.StatusCode.UNAVAILABLE
    assert not any(answer.done() for answer in answers), "the answers were too short for this case"
    for answer in answers:
        assert answer.result().parameters["completion_tokens"].int64_param == 900


passed, failed = 0, 0
for case in (metadata, inference, raw_contents, streamed, repository, health, errors, strangers, draining):
    try:
        case()
        passed += 1
    except Exception as e:  # noqa: BLE001
        failed += 1
        print("failed: grpcio: %s: %s" % (case.__name__, " ".join(str(e).split())[:300] or repr(e)))
print("%d passed, %d failed, 0 skipped" % (passed, failed))
sys.exit(1 if failed else 0)
