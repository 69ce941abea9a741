#!/usr/bin/env python3
"""The tools of the example, as a small HTTP service over one SQLite database.

  service.py DATABASE [--port 8090] [--hide TABLE …]

  POST /schema   {"question": "…"}   -> {"schema": "CREATE TABLE …", "tables": […]}: the tables that the question is about
  POST /execute  {"sql": "…"}        -> {"kind": "rows", "columns": […], "rows": […], "truncated": false, "sql": "…"}
                                     or {"kind": "error", "error": "…", "sql": "…"}: a mistake, which may be repaired
                                     or {"kind": "refused", "error": "…", "sql": "…"}: something other than reading

Every statement runs on a connection of its own that cannot write (the file is opened read-only, and SQLite asks an authorizer
about each action), for at most two seconds and a hundred rows. Hidden tables do not exist for it."""
import argparse
import http.server
import json
import os
import re
import sqlite3
import sys
import time
import urllib.parse

MAX_BODY = 256 * 1024
MAX_ROWS = 100
MAX_SECONDS = 2.0
MAX_CELL = 2000
MAX_TABLES = 8
READS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, getattr(sqlite3, "SQLITE_RECURSIVE", 33)}
# Functions that reach beyond the database.
BANNED_FUNCTIONS = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"}


class Refused(Exception):
    pass


class Database:
    def __init__(self, path, hidden=()):
        if not os.path.exists(path):
            raise SystemExit("%s: there is no such database" % path)
        self.uri = "file:%s?mode=ro" % urllib.parse.quote(os.path.abspath(path))
        self.hidden = {name.lower() for name in hidden} | {"sqlite_master", "sqlite_schema", "sqlite_temp_master"}

    def connect(self):
        connection = sqlite3.connect(self.uri, uri=True, timeout=1)
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        return connection

    def tables(self):
        connection = self.connect()
        try:
            rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'view') AND sql IS NOT NULL")
            return {name: sql for name, sql in rows if name.lower() not in self.hidden and not name.startswith("sqlite_")}
        finally:
            connection.close()

    def schema_for(self, question):
        """The tables whose names or columns the question's words are in, those that join them, and what they refer to; else all."""
        tables = self.tables()
        words = {stem(word) for word in re.findall(r"[a-z]+", question.lower())}
        chosen = []
        for name, sql in tables.items():
            own = {stem(part) for word in re.findall(r"[a-z_]+", (name + " " + sql).lower()) for part in word.split("_")}
            if words & (own - SQL_WORDS):
                chosen.append(name)
        for name, sql in tables.items():
            if name not in chosen and any(re.search(r"REFERENCES\s+%s\b" % re.escape(each), sql, re.I) for each in chosen):
                chosen.append(name)
        chosen = chosen or list(tables)
        for name in chosen:  # grows meanwhile: what is referred to may refer to others
            for other in tables:
                related = re.search(r"REFERENCES\s+%s\b" % re.escape(other), tables[name], re.I)
                if related and other not in chosen:
                    chosen.append(other)
        chosen = [name for name in tables if name in chosen][:MAX_TABLES]
        return {"schema": "\n".join(tables[name] + ";" for name in chosen), "tables": chosen}

    def execute(self, text):
        sql = statement_in(text)
        connection = self.connect()
        refusals = []

        def authorize(action, first, second, *_):
            if action not in READS:
                refusals.append("only reading is allowed here")
            elif action == sqlite3.SQLITE_READ and first and first.lower() in self.hidden:
                refusals.append("there is no table %s here" % first)
            elif action == sqlite3.SQLITE_FUNCTION and second and second.lower() in BANNED_FUNCTIONS:
                refusals.append("the function %s is not allowed here" % second)
            else:
                return sqlite3.SQLITE_OK
            return sqlite3.SQLITE_DENY

        until = time.monotonic() + MAX_SECONDS
        connection.set_progress_handler(lambda: time.monotonic() > until, 10000)
        connection.set_authorizer(authorize)
        try:
            cursor = connection.execute(sql)
            if cursor.description is None:
                raise Refused("only reading is allowed here")
            rows = cursor.fetchmany(MAX_ROWS + 1)
            return {"kind": "rows", "sql": sql, "columns": [column[0] for column in cursor.description],
                    "rows": [[cell(value) for value in row] for row in rows[:MAX_ROWS]], "truncated": len(rows) > MAX_ROWS}
        except sqlite3.Warning as e:  # more than one statement
            raise Refused("one statement only: %s" % e) from e
        except sqlite3.ProgrammingError as e:
            raise Refused("one statement only: %s" % e) from e
        except sqlite3.Error as e:
            if refusals:
                raise Refused(refusals[0]) from e
            late = "interrupted" in str(e)
            return {"kind": "error", "sql": sql, "error": "it takes longer than %g s" % MAX_SECONDS if late else str(e)}
        finally:
            connection.close()


SQL_WORDS = {"create", "table", "integer", "primary", "key", "text", "not", "null", "real", "reference", "id", "the"}


def stem(word):
    return word[:-1] if word.endswith("s") and len(word) > 3 else word


def cell(value):
    if isinstance(value, bytes):
        return value[:MAX_CELL].hex()
    return value[:MAX_CELL] if isinstance(value, str) else value


def statement_in(text):
    """What a model wrote: the statement in its fence, or all of it."""
    fence = re.search(r"```(?:sql|sqlite)?\s*\n?(.*?)```", text, re.S | re.I)
    return (fence.group(1) if fence else text).strip().rstrip(";").strip()


class Handler(http.server.BaseHTTPRequestHandler):
    database = None

    def do_POST(self):  # noqa: N802
        try:
            length = int(self.headers.get("Content-Length") or 0)
            if not 0 < length <= MAX_BODY:
                return self.answer(413, {"error": "a body of 1 to %d bytes is expected" % MAX_BODY})
            body = json.loads(self.rfile.read(length))
            field = {"/schema": "question", "/execute": "sql"}.get(self.path)
            if field is None:
                return self.answer(404, {"error": "only POST /schema and /execute are there"})
            if not isinstance(body, dict) or not isinstance(body.get(field), str):
                return self.answer(400, {"error": "expected {\"%s\": \"…\"}" % field})
        except ValueError as e:
            return self.answer(400, {"error": "no JSON: %s" % e})
        if field == "question":
            return self.answer(200, self.database.schema_for(body["question"]))
        try:
            return self.answer(200, self.database.execute(body["sql"]))
        except Refused as e:
            return self.answer(200, {"kind": "refused", "sql": statement_in(body["sql"]), "error": str(e)})

    def answer(self, status, value):
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description="Schema retrieval and read-only execution over a SQLite database.")
    parser.add_argument("database")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--hide", action="append", default=[], metavar="TABLE", help="a table that does not exist for questions")
    args = parser.parse_args()
    Handler.database = Database(args.database, args.hide)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", args.port), Handler)
    print("serves %s on http://127.0.0.1:%d" % (args.database, server.server_address[1]), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
