"""Runs the operator's authentication function and answers the gateway over a socket.

The gateway starts this program with one end of a socket as its standard input, sends `hello`, and then requests. A thread reads;
async functions run on one event loop, as they do in LiteLLM, and others in threads. What must stay true: a function is begun
once for a request and never for one that was taken back; only what it explicitly gives is an answer; and the process ends when
the gateway does.
"""

import asyncio
import base64
import importlib
import inspect
import json
import os
import socket
import struct
import sys
import threading
import traceback

LONGEST_FRAME = 64 << 20
# What the gateway reads of us; it ends a process that says more.
LONGEST_MESSAGE = 1 << 20
LONGEST_TEXT = 64 << 10
THREAD_STACK = 512 << 10


class Channel:
    """Frames in both directions: four bytes of length, then JSON."""

    def __init__(self, sock):
        self.sock = sock
        self.lock = threading.Lock()

    def read(self):
        head = self.exactly(4)
        if head is None:
            return None
        (length,) = struct.unpack(">I", head)
        if length > LONGEST_FRAME:
            return None
        text = self.exactly(length)
        return None if text is None else json.loads(text)

    def exactly(self, count):
        parts = []
        while count:
            part = self.sock.recv(min(count, 1 << 20))
            if not part:
                return None
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def write(self, message):
        """Raises ValueError, having sent nothing, for what the gateway could not read."""
        text = json.dumps(message, allow_nan=False, ensure_ascii=False).encode()
        if len(text) > LONGEST_MESSAGE:
            raise ValueError("it is longer than 1 MiB")
        with self.lock:
            self.sock.sendall(struct.pack(">I", len(text)) + text)


class Bounds:
    """What the process may use, set before any code of the operator's runs."""

    @staticmethod
    def set(memory):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        kind = getattr(resource, "RLIMIT_DATA", resource.RLIMIT_AS)
        most = resource.getrlimit(kind)[1]
        bound = memory if most == resource.RLIM_INFINITY else min(memory, most)
        resource.setrlimit(kind, (bound, bound))
        threading.stack_size(THREAD_STACK)


def find(name):
    """The function of this dotted name: `module.function`, or deeper."""
    parts = name.split(".")
    found = importlib.import_module(".".join(parts[:-1]))
    return getattr(found, parts[-1])


def scope_of(message):
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": message["method"],
        "scheme": "http",
        "path": message["path"],
        "raw_path": message["path"].encode(),
        "root_path": "",
        "query_string": message["query"].encode(),
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in message["headers"]],
        "client": (message["source"], 0) if message["source"] else None,
        "server": ("portcullis", 80),
        "state": {},
        "app": None,
    }


def request_of(message, reads_body):
    from fastapi import Request

    body = base64.b64decode(message["body"]) if message.get("body") is not None else b""

    async def receive():
        if not reads_body:
            raise RuntimeError("the body is read for this function only with portcullis.custom_auth.body: true")
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(scope_of(message), receive)


def plain(value):
    """What of an identity's fields JSON can hold."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return str(getattr(value, "value", value))
    if isinstance(value, dict):
        return {str(getattr(name, "value", name)): plain(member) for name, member in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(member) for member in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "model_dump"):
        return plain(value.model_dump())
    return str(value)


def answer_of(value):
    """The answer that a returned value is; `None` where it is none."""
    from litellm.proxy._types import UserAPIKeyAuth

    if value is None:
        return {"outcome": "not_mine"}
    if isinstance(value, str):
        return {"outcome": "key", "key": str(value)}
    if isinstance(value, UserAPIKeyAuth):
        fields = value.model_dump()
        identity = {name: plain(field) for name, field in fields.items() if field is not None}
        return {"outcome": "proven", "identity": identity}
    return None


def told(text):
    """A text as it can be sent. A long one goes as a whole: half a credential at its end could not be masked."""
    text = str(text)
    return text.encode("utf-8", "replace").decode() if len(text) <= LONGEST_TEXT else "(a text that is too long)"


def cause_of(error):
    """What the log says of an exception."""
    try:
        return told(f"{type(error).__name__}: {error}")
    except BaseException:
        return type(error).__name__


def status_of(code):
    try:
        return int(code)
    except (TypeError, ValueError):
        return 0


def refusal_of(error):
    """The answer that an exception is, and what the log says of it."""
    from fastapi import HTTPException
    from litellm.proxy._types import ProxyException
    from starlette.exceptions import HTTPException as OlderHTTPException

    if isinstance(error, ProxyException):
        status = status_of(error.code)
        refusal = {"outcome": "refused", "status": status, "stands": True, "type": told(error.type or "auth_error")}
        param = None if error.param in (None, "None") else told(error.param)
        return {**refusal, "message": told(error.message), "param": param}, None
    if isinstance(error, (HTTPException, OlderHTTPException)):
        status = status_of(error.status_code)
        return {"outcome": "refused", "status": status, "stands": status != 401, "message": told(error.detail)}, None
    return {"outcome": "refused", "status": 401}, cause_of(error)


class Worker:
    def __init__(self, channel, hello):
        self.channel = channel
        self.reads_body = hello["body"]
        self.function = None
        self.loop = asyncio.new_event_loop()
        self.lock = threading.Lock()
        self.waiting = {}
        self.running = {}

    def load(self, hello):
        sys.path.insert(0, hello["directory"])
        self.function = find(hello["function"])
        if not callable(self.function):
            raise TypeError(f"{hello['function']} cannot be called")
        called = self.function if inspect.isroutine(self.function) else getattr(self.function, "__call__")
        self.is_async = inspect.iscoroutinefunction(called) or inspect.iscoroutinefunction(self.function)

    def read_for_ever(self):
        try:
            while True:
                message = self.channel.read()
                if message is None:
                    break
                self.take(message)
        finally:
            os._exit(0)

    def take(self, message):
        number = message["id"]
        if message["kind"] == "request":
            with self.lock:
                self.waiting[number] = message
            self.loop.call_soon_threadsafe(self.begin, number)
        elif message["kind"] == "take_back":
            with self.lock:
                back = self.waiting.pop(number, None)
            if back is not None:
                self.channel.write({"kind": "taken_back", "id": number})
        elif message["kind"] == "ping":
            self.loop.call_soon_threadsafe(self.channel.write, {"kind": "pong"})
        elif message["kind"] == "cancel":
            self.loop.call_soon_threadsafe(self.cancel, number)

    def begin(self, number):
        if self.is_async:
            self.running[number] = self.loop.create_task(self.run_async(number))
            return
        message = self.claim(number)
        if message is None:
            return
        thread = threading.Thread(target=self.run_in_thread, args=(number, message), daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self.fail(number, "no thread can be had")

    def claim(self, number):
        """From here on the request is this process's: nothing but its function runs next."""
        with self.lock:
            message = self.waiting.pop(number, None)
        if message is not None:
            self.channel.write({"kind": "started", "id": number})
        return message

    def cancel(self, number):
        task = self.running.pop(number, None)
        if task is not None:
            task.cancel()

    async def run_async(self, number):
        message = self.claim(number)
        if message is None:
            self.running.pop(number, None)
            return
        try:
            returned = await self.function(request_of(message, self.reads_body), message["credential"])
        except asyncio.CancelledError as error:
            # Some task of the function's own may have been cancelled, which nobody here asked for.
            if number in self.running:
                return self.raised(number, error)
            self.channel.write({"kind": "cancelled", "id": number})
        except BaseException as error:
            self.raised(number, error)
        else:
            self.returned(number, returned)

    def run_in_thread(self, number, message):
        try:
            returned = self.function(request_of(message, self.reads_body), message["credential"])
            if inspect.isawaitable(returned):
                returned = asyncio.run_coroutine_threadsafe(awaited(returned), self.loop).result()
        except BaseException as error:
            self.raised(number, error)
        else:
            self.returned(number, returned)

    def returned(self, number, value):
        try:
            answer = answer_of(value)
        except BaseException as error:
            return self.fail(number, f"what it returned cannot be read: {cause_of(error)}")
        if answer is None:
            return self.fail(number, f"it returned a {type(value).__name__}, which is no identity")
        self.settle(number, answer, None)

    def raised(self, number, error):
        # Not a decision on the caller: the function could not make one.
        if not isinstance(error, Exception) or isinstance(error, MemoryError):
            return self.fail(number, cause_of(error))
        try:
            answer, cause = refusal_of(error)
        except BaseException as other:
            return self.fail(number, f"what it raised cannot be read: {cause_of(other)}")
        self.settle(number, answer, cause)

    def fail(self, number, cause):
        self.settle(number, {"outcome": "failed"}, cause)

    def settle(self, number, answer, cause):
        self.running.pop(number, None)
        try:
            self.channel.write({"kind": "answer", "id": number, "answer": answer, "cause": cause})
        except (TypeError, ValueError) as error:
            cause = f"what it said cannot be sent: {cause_of(error)}"
            self.channel.write({"kind": "answer", "id": number, "answer": {"outcome": "failed"}, "cause": cause})


async def awaited(value):
    return await value


def main():
    channel = Channel(socket.socket(fileno=os.dup(0)))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    hello = channel.read()
    if hello is None:
        return
    worker = Worker(channel, hello)
    # Before the function's file is read: what it makes there belongs to the loop that the function runs on.
    asyncio.set_event_loop(worker.loop)
    try:
        Bounds.set(hello["memory"])
        standins.install()
        worker.load(hello)
    except BaseException:
        channel.write({"kind": "broken", "cause": told(traceback.format_exc(limit=-6))})
        return
    channel.write({"kind": "ready"})
    threading.Thread(target=worker.read_for_ever, daemon=True).start()
    worker.loop.run_forever()
