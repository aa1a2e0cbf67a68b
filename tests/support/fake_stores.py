"""Local servers that answer as Google Cloud Storage and the Hugging Face Hub do, as far as reading
needs it. Each has one bucket (or data set) with the objects of a mapping.
"""

from __future__ import annotations

import importlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

GS_BUCKET = "corpora"
HF_DATASET = "team/corpora"
_UPDATED = "2026-11-01T00:00:00.000Z"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    objects: Mapping[str, bytes]

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        raise NotImplementedError

    def send_json(self, value: Any, *, status: int = 200, error: str = "") -> None:
        self.send_body(json.dumps(value).encode(), status=status, headers={"X-Error-Code": error})

    def send_body(
        self, data: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def send_object(self, data: bytes) -> None:
        """The object, or the range of it that is requested."""
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        headers = {"ETag": '"1"', "X-Repo-Commit": "c0ffee"}
        if wanted is None:
            self.send_body(data, headers=headers)
            return
        begin, end = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
        headers["Content-Range"] = f"bytes {begin}-{end}/{len(data)}"
        self.send_body(data[begin : end + 1], status=206, headers=headers)


class _CloudStorage(_Handler):
    """The JSON API: lists, descriptions and contents of objects."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        bucket, _, name = url.path.partition("/b/")[2].partition("/o")
        name = unquote(name.removeprefix("/"))
        if bucket != GS_BUCKET or (name and name not in self.objects):
            self.send_json({"error": {"code": 404, "message": "Not Found"}}, status=404)
        elif not name:
            self.send_json(self._listed(query.get("prefix", ""), query.get("delimiter", "")))
        elif query.get("alt") == "media":
            self.send_object(self.objects[name])
        else:
            self.send_json(self._described(name))

    def _described(self, name: str) -> dict[str, str]:
        size = str(len(self.objects[name]))
        found = {"kind": "storage#object", "name": name, "bucket": GS_BUCKET, "size": size}
        return {**found, "updated": _UPDATED, "etag": "1", "generation": "1"}

    def _listed(self, prefix: str, delimiter: str) -> dict[str, Any]:
        names = [name for name in self.objects if name.startswith(prefix)]
        inner = {name: name[len(prefix) :] for name in names}
        below = [name for name in names if delimiter and delimiter in inner[name]]
        folders = {f"{prefix}{inner[name].split(delimiter)[0]}{delimiter}" for name in below}
        items = [self._described(name) for name in names if name not in below]
        return {"kind": "storage#objects", "items": items, "prefixes": sorted(folders)}


class _Hub(_Handler):
    """The routes of one data set: its description, lists of files, their contents."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        if f"/datasets/{HF_DATASET}" not in path:
            self.send_json({"error": "Not Found"}, status=404, error="RepoNotFound")
        elif "/resolve/main/" in path:
            self.send_object(self.objects[path.split("/resolve/main/")[1]])
        elif "/tree/main" in path:
            recursive = "recursive=true" in url.query.lower()
            found = self._listed(path.split("/tree/main")[1].strip("/"), recursive=recursive)
            if found:
                self.send_json(found)
            else:
                self.send_json({"error": "Not Found"}, status=404, error="EntryNotFound")
        else:
            self.send_json({"id": HF_DATASET, "sha": "c0ffee", "siblings": []})

    def _listed(self, folder: str, *, recursive: bool) -> list[dict[str, Any]]:
        prefix = f"{folder}/" if folder else ""
        found: dict[str, dict[str, Any]] = {}
        for name, data in self.objects.items():
            first, _, below = name[len(prefix) :].partition("/")
            if not name.startswith(prefix):
                continue
            if below and not recursive:
                found[first] = {"type": "directory", "path": f"{prefix}{first}", "oid": "1"}
            else:
                found[name] = {"type": "file", "path": name, "size": len(data), "oid": "1"}
        return list(found.values())


@contextmanager
def _served(kind: type[_Handler], objects: Mapping[str, bytes]) -> Iterator[str]:
    handler = type(kind.__name__, (kind,), {"objects": objects})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@contextmanager
def cloud_storage(objects: Mapping[str, bytes]) -> Iterator[dict[str, str]]:
    """Serve the objects of `gs://corpora`; yield the environment in which they are read."""
    with _served(_CloudStorage, objects) as url:
        yield {"STORAGE_EMULATOR_HOST": url}


@contextmanager
def hub(objects: Mapping[str, bytes]) -> Iterator[dict[str, str]]:
    """Serve the files of `hf://datasets/team/corpora`; yield the environment that reads them."""
    with _served(_Hub, objects) as url:
        yield {"HF_ENDPOINT": url, "HF_HUB_OFFLINE": "0"}


@contextmanager
def s3(objects: Mapping[str, bytes]) -> Iterator[dict[str, str]]:
    """Serve the objects of `s3://corpora` by moto; yield the environment that reads them."""
    # Neither is a dependency of the tests.
    boto3 = importlib.import_module("boto3")
    server = importlib.import_module("moto.server").ThreadedMotoServer(
        ip_address="127.0.0.1", port=0, verbose=False
    )
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    environment = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    client.create_bucket(Bucket="corpora", ACL="public-read")
    for name, data in objects.items():
        client.put_object(Bucket="corpora", Key=name, Body=data, ACL="public-read")
    try:
        yield {**environment, "AWS_ENDPOINT_URL": url}
    finally:
        server.stop()
