"""A minimal W&B server, to which the client can send a run: it stores configs and histories."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HISTORY, SUMMARY = "wandb-history.jsonl", "wandb-summary.json"


class Server(ThreadingHTTPServer):
    """HTTP server on a free port of this machine; run id -> config and lines of history."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.configs: dict[str, dict[str, Any]] = {}
        self.lines: dict[str, dict[str, list[str]]] = {}
        self.uploads: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def history(self, run: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines[run][HISTORY]]

    def answer(self, query: str, values: dict[str, Any]) -> dict[str, Any]:
        """The data of the reply to a GraphQL query."""
        name = values.get("name")
        project = {"id": "p", "name": "test", "entity": {"id": "e", "name": "me"}}
        if "upsertBucket" in query:
            assert name is not None
            self.configs[name] = json.loads(values.get("config") or "{}")
            self.lines.setdefault(name, {HISTORY: [], SUMMARY: []})
            bucket = {"id": name, "name": name, "displayName": name, "project": project}
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if "RunResumeStatus" in query:
            return {"model": {**project, "bucket": self._bucket(name)}}
        if "CreateRunFiles" in query or "createRunFiles" in query:
            files = [{"name": f, "uploadUrl": f"{self.url}/up/{f}"} for f in values["files"]]
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
        viewer = {"id": "u", "entity": "me", "username": "me", "flags": "{}"}
        return {"viewer": viewer, "serverInfo": {"features": []}}

    def _bucket(self, name: str | None) -> dict[str, Any] | None:
        if name not in self.lines:
            return None
        history, summary = self.lines[name][HISTORY], self.lines[name][SUMMARY]
        return {
            "id": name,
            "name": name,
            "displayName": name,
            "summaryMetrics": summary[-1] if summary else "{}",
            "historyLineCount": len(history),
            "eventsLineCount": 0,
            "logLineCount": 0,
            "historyTail": json.dumps(history[-1:]),
            "eventsTail": "[]",
            "config": json.dumps(self.configs[name]),
            "tags": [],
            "notes": None,
            "wandbConfig": '{"t": 1}',
        }

    def stream(self, run: str, files: dict[str, Any]) -> None:
        """Store lines of the files of a run, each from its offset on."""
        for name, part in files.items():
            if name in (HISTORY, SUMMARY):
                start = part["offset"]
                self.lines[run][name][start : start + len(part["content"])] = part["content"]


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _reply(self, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        body = self._body()
        with self.server.lock:
            if self.path.endswith("/graphql"):
                request = json.loads(body)
                data = self.server.answer(request["query"], request.get("variables") or {})
                self._reply({"data": data})
            elif self.path.endswith("/file_stream"):
                run = self.path.split("/")[-2]
                self.server.stream(run, json.loads(body).get("files") or {})
                self._reply({})
            else:
                self._reply({})

    def do_GET(self) -> None:
        self._reply({})

    def do_PUT(self) -> None:
        self._body()
        self.server.uploads.append(self.path)
        self._reply({})

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
