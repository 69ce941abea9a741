"""The API without a client's retries: what it has acknowledged, and what it may have taken before its process was killed."""
import http.client
import json
import os
import re
import ssl
import time

SERVICES = "/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices"
GRAPHS = "/apis/serving.kserve.io/v1alpha1/namespaces/default/inferencegraphs"
REVISIONS = "/apis/sluice.dev/v1alpha1/namespaces/default/revisions"
REPLICAS = "/apis/sluice.dev/v1alpha1/namespaces/default/replicas"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
PATIENCE = 60


class Unanswered(Exception):
    """The connection ended before the answer: the request was carried out, or was not."""


class Api:
    """One connection at a time. For one thread."""

    def __init__(self, up):
        with open(up.kubeconfig) as f:
            self.token = re.search(r"token: (\S+)", f.read()).group(1)
        self.context = ssl.create_default_context(cafile=os.path.join(up.data, "tls.crt"))
        self.port = up.control_port
        self.connection = None

    def connect(self):
        """Nothing has been asked yet, so this may be tried again. Nobody is refused: the supervisor holds the socket."""
        deadline = time.monotonic() + PATIENCE
        while True:
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=PATIENCE)
            try:
                connection.connect()
                return connection
            except ConnectionRefusedError:
                raise AssertionError("the API's port refuses connections")
            except OSError:
                connection.close()
                if time.monotonic() > deadline:
                    raise

    def call(self, method, path, body=None, kind="application/json"):
        """Status and answer, or Unanswered."""
        if self.connection is None:
            self.connection = self.connect()
        headers = {"Authorization": "Bearer " + self.token, "Content-Type": kind, "User-Agent": "crash-test"}
        try:
            self.connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = self.connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as e:
            self.close()
            if isinstance(e, TimeoutError):
                raise AssertionError("%s %s has no answer after %d s" % (method, path, PATIENCE))
            raise Unanswered(repr(e)) from e
        return response.status, json.loads(text)

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def get(self, path):
        """Asked until it is answered: reading changes nothing."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self.call("GET", path)
            except Unanswered:
                assert time.monotonic() < deadline, path + " is not answered"

    def list(self, path):
        status, answer = self.get(path)
        assert status == 200, answer
        return answer

    def apply(self, path, body):
        return self.call("PATCH", path + "/" + body["metadata"]["name"] + "?fieldManager=crash&force=true", body, APPLY)


def within(sent, found):
    """All that was sent is there as it was sent; the API may have added defaults."""
    if isinstance(sent, dict):
        return isinstance(found, dict) and all(key in found and within(value, found[key]) for key, value in sent.items())
    if isinstance(sent, list):
        return isinstance(found, list) and len(sent) == len(found) and all(map(within, sent, found))
    return sent == found


def content(found):
    """Of an object, what users write; None: it is not there, or on its way out."""
    if found is None or "deletionTimestamp" in found["metadata"]:
        return None
    return {"metadata": {key: found["metadata"].get(key, {}) for key in ("labels", "annotations")}, "spec": found["spec"]}


class Sent:
    """A state of an object that was sent; `exact` once the API has answered with the whole of it."""

    def __init__(self, body, exact=None):
        self.body, self.exact = body, exact

    def is_it(self, found):
        if self.body is None or found is None:
            return self.body is None and found is None
        return found == self.exact if self.exact is not None else within(self.body, found)


class Ledger:
    """Each object's possible states: one after an answer, more after a write that was not answered."""

    def __init__(self):
        self.possible = {}
        self.version = self.acknowledged = self.unanswered = 0

    def states(self, key):
        return self.possible.setdefault(key, [Sent(None)])

    def write(self, api, key, sent, call):
        """Calls, and notes what is there from now on. `sent`: the object's labels, annotations and spec, or None."""
        path, name = key
        before = self.states(key)
        try:
            status, answer = call(api)
        except Unanswered:
            self.possible[key] = before + [Sent(sent)]
            self.unanswered += 1
            return False
        if sent is None and status == 404:
            assert any(state.body is None for state in before), "%s is lost: %s" % (name, answer)
            self.possible[key] = [Sent(None)]
            return True
        assert status in (200, 201), (path, name, status, answer)
        self.acknowledged += 1
        self.version = max(self.version, int(answer.get("metadata", {}).get("resourceVersion") or 0))
        exact = None
        if sent is not None and answer.get("kind") != "Scale":
            exact = content(answer)
            assert within(sent, exact), ("not stored as it was sent", sent, answer)
        self.possible[key] = [Sent(sent, exact)]
        return True

    def check(self, path, listing):
        """Every object of a listing is one that was sent, and none that was acknowledged is missing."""
        version = int(listing["metadata"]["resourceVersion"])
        assert version >= self.version, "version %d after %d was acknowledged" % (version, self.version)
        self.version = version
        there = {item["metadata"]["name"]: content(item) for item in listing["items"]}
        for name in there:
            assert (path, name) in self.possible, name + " was made by nobody"
        for key, states in self.possible.items():
            if key[0] != path:
                continue
            found = there.get(key[1])
            fits = [state for state in states if state.is_it(found)]
            assert fits, "%s is none of what was sent: %s; sent: %s" % (
                key[1], json.dumps(found), json.dumps([state.exact or state.body for state in states]))
            self.possible[key] = [Sent(fits[-1].body, found)]

    def wanted(self, path):
        """Names and states of what is to be there, after a check."""
        return {key[1]: states[-1].exact for key, states in self.possible.items()
                if key[0] == path and states[-1].body is not None}
