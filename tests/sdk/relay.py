"""A TCP relay between an SDK and the gateway that keeps every byte the SDK sent.

What an SDK puts on the wire is read here and not from its objects, so the tests hold for any HTTP library inside it, and a
retry inside the SDK is one more request here.
"""

import socket
import threading
from dataclasses import dataclass


@dataclass
class Request:
    """One HTTP/1.1 request as it was sent."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes


class Relay:
    """Listens on a free loopback port and passes everything on to one address."""

    def __init__(self, upstream: tuple[str, int]):
        self._upstream = upstream
        self._sent: list[bytearray] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        host, port = self._listener.getsockname()
        self.url = f"http://{host}:{port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def requests(self) -> list[Request]:
        """All requests that were sent whole, connection by connection."""
        return [request for sent in self._sent for request in _parse(bytes(sent))]

    def close(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._upstream)
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sent = bytearray()
            self._sent.append(sent)
            threading.Thread(target=_pump, args=(client, server, sent), daemon=True).start()
            threading.Thread(target=_pump, args=(server, client, None), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket, kept: bytearray | None):
    try:
        while piece := source.recv(65536):
            if kept is not None:
                kept += piece
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # The other direction has ended and says why.


def _parse(sent: bytes) -> list[Request]:
    requests = []
    while b"\r\n\r\n" in sent:
        head, rest = sent.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = [(name, value.strip()) for name, value in (line.split(":", 1) for line in lines)]
        fields = {name.lower(): value for name, value in headers}
        if "chunked" in fields.get("transfer-encoding", ""):
            body, sent = _chunks(rest)
        else:
            length = int(fields.get("content-length", 0))
            body, sent = rest[:length], rest[length:]
        requests.append(Request(method, target, headers, body))
    return requests


def _chunks(rest: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        size, rest = rest.split(b"\r\n", 1)
        length = int(size.split(b";")[0], 16)
        body, rest = body + rest[:length], rest[length + 2 :]
        if length == 0:
            return body, rest
