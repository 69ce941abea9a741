"""Renders chat templates with Debian's python3-jinja2, set up as Hugging Face Transformers does.

As a program: reads JSON lines {"template", "inputs", "time"} and writes one line each:
{"text": …} or {"error": …, "raised": true when the template called raise_exception}.
"""
import datetime
import json
import os
import sys
import time

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

os.environ["TZ"] = "UTC"
time.tzset()


class Raised(jinja2.exceptions.TemplateError):
    """What raise_exception() of a template becomes."""


class Generation(jinja2.ext.Extension):
    """{% generation %} … {% endgeneration %}: marks the assistant's words; prints them as they are."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_show"), [], [], body).set_lineno(line)

    def _show(self, caller):
        return caller()


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


def raise_exception(message):
    raise Raised(message)


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    return env


ENVIRONMENT = environment()
PARSED = {}


def render(template, inputs, now=0.0):
    ENVIRONMENT.globals["strftime_now"] = (
        lambda form: datetime.datetime.fromtimestamp(now).strftime(form))
    try:
        if template not in PARSED:
            PARSED[template] = ENVIRONMENT.from_string(template)
        text = PARSED[template].render(**inputs)
        text.encode("utf-8")
        return {"text": text}
    except Raised as error:
        return {"error": str(error), "raised": True}
    except Exception as error:  # whatever a template provokes counts as its failure
        return {"error": "%s: %s" % (type(error).__name__, error), "raised": False}


def main():
    for line in sys.stdin:
        case = json.loads(line)
        print(json.dumps(render(case["template"], case["inputs"], case.get("time", 0))))


if __name__ == "__main__":
    main()
