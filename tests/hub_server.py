"""A server that offers repositories as the Hugging Face hub does, for huggingface_hub's own client to fetch from."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.model_stores import COMMIT


@contextmanager
def hub(repositories: Mapping[str, Mapping[str, bytes]]) -> Iterator[tuple[str, list[str]]]:
    """The address of a running hub with these files by repository, and the list of what it is asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, *, with_body: bool) -> None:
            asked.append(f"{self.command} {self.path}")
            words = self.path.partition("?")[0].strip("/").split("/")
            headers: dict[str, str] = {"X-Repo-Commit": COMMIT}
            if words[:2] == ["api", "models"] and (files := repositories.get("/".join(words[2:4]))) is not None:
                known = {"id": "/".join(words[2:4]), "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
                code, body = 200, json.dumps(known).encode()
                headers["Content-Type"] = "application/json"
            elif words[2:3] == ["resolve"] and (
                found := repositories.get("/".join(words[:2]), {}).get("/".join(words[4:]))
            ):
                code, body = 200, found
                headers["ETag"] = f'"{hashlib.sha256(body).hexdigest()}"'
            else:
                code, body = 404, b""
                is_known = "/".join(words[:2]) in repositories
                headers["X-Error-Code"] = "EntryNotFound" if is_known else "RepoNotFound"
            self.send_response(code)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        serving.join()
