"""A receiver of webhooks: a real HTTP server on the loopback that does as it is told.

It checks signatures with the library of the specification's authors, as receivers do.
"""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks.webhooks import Webhook

from tests.runner.waiting import PATIENCE_SECONDS


@dataclass
class Post:
    """What came in one request."""

    path: str
    headers: dict[str, str]
    body: bytes

    def verified(self, secret: str) -> Any:
        """Return the document; raises WebhookVerificationError."""
        return Webhook(secret).verify(self.body, self.headers)

    @property
    def id(self) -> str:
        """The message's."""
        return self.headers["webhook-id"]


Answer = Callable[[http.server.BaseHTTPRequestHandler, int], None]


def status(code: int, **headers: str) -> Answer:
    """Answer so, without a body."""

    def answer(handler: http.server.BaseHTTPRequestHandler, _number: int) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@dataclass
class Receiver:
    """A server that runs. ``answer`` is called with the number of the request, from 1 on."""

    url: str = ""
    answer: Answer = field(default_factory=lambda: status(204))
    posts: list[Post] = field(default_factory=list)
    came: threading.Condition = field(default_factory=threading.Condition)

    def wait(self, number: int) -> list[Post]:
        """Wait for so many posts, and return them."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.posts) >= number, PATIENCE_SECONDS)
            return list(self.posts)


@contextmanager
def receiving(
    answer: Answer | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[Receiver]:
    """Listen until the end."""
    receiver = Receiver()
    if answer is not None:
        receiver.answer = answer

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with receiver.came:
                receiver.posts.append(Post(self.path, dict(self.headers), body))
                number = len(receiver.posts)
                receiver.came.notify_all()
            receiver.answer(self, number)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    receiver.url = f"http{'s' if tls else ''}://localhost:{server.server_address[1]}/jobs?of=all"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
