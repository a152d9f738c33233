"""What every test has: a relay before the gateway, the recording provider behind it, the keys that the driver made.

`scripts/sdk-tests` starts the processes and sets the environment that is read here.
"""

import os
from urllib.parse import urlsplit

import pytest
from provider import PROVIDER_KEYS, Provider
from relay import Relay

# Longer than a loaded machine needs. An answer that is held back fails the test when this is over.
TIMEOUT = 10

# Where providers take their keys; each of them is also a place where a client may have put its own.
SLOTS = {"authorization", "x-litellm-api-key", "api-key", "x-api-key", "x-goog-api-key", "ocp-apim-subscription-key"}
# What belongs to one connection and not to the request.
HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-connection"}
# What the gateway may add.
ADDED = {"x-request-id", "content-length"}

# Credentials of other parties that a client sends beside its key.
FOREIGN_TOKEN = "sk-ant-oat01-foreign-2f6b8c11d0"
WRONG_KEY = "sk-wrong-0a1b2c3d4e5f60718293"


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    """No setting of the machine reaches an SDK."""
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "AZURE_", "ANTHROPIC_", "GOOGLE_", "GEMINI_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def provider():
    provider = Provider(os.environ["PROVIDER_URL"])
    provider.clear()
    return provider


@pytest.fixture
def relay(provider):
    gateway = urlsplit(os.environ["PORTCULLIS_URL"])
    relay = Relay((gateway.hostname, gateway.port))
    yield relay
    relay.close()


@pytest.fixture
def key():
    """A virtual key that may use every model."""
    return os.environ["PORTCULLIS_KEY"]


@pytest.fixture
def limited_key():
    """A virtual key that may use the model `only-this` and nothing else."""
    return os.environ["PORTCULLIS_LIMITED_KEY"]


@pytest.fixture
def refused_key():
    """A virtual key that may make no call in any minute."""
    return os.environ["PORTCULLIS_REFUSED_KEY"]


@pytest.fixture
def spent_key():
    """A virtual key of a team whose budget is spent."""
    return os.environ["PORTCULLIS_SPENT_KEY"]


@pytest.fixture
def exchange(relay, provider):
    """Checks, when the test is over, each request that it sent against what reached the provider.

    Called with the provider's name, the slots that may hold its key, and how many requests there were.
    """

    def check(name: str, slots: set[str], count: int = 1):
        sent, arrived = relay.requests(), provider.requests()
        assert (len(sent), len(arrived)) == (count, count)
        for client, upstream in zip(sent, arrived):
            _unchanged(client, upstream)
            _swapped(client, upstream, PROVIDER_KEYS[name], slots)

    return check


def _fields(request, left_out):
    return sorted((name.lower(), value) for name, value in request.headers if name.lower() not in left_out)


def _unchanged(client, upstream):
    assert (upstream.method, upstream.target) == (client.method, client.target)
    assert upstream.body == client.body
    # The answer is read as it passes, so it is asked for in plain.
    assert [value for name, value in upstream.headers if name.lower() == "accept-encoding"] == ["identity"]
    left_out = SLOTS | HOP_BY_HOP | ADDED | {"host", "accept-encoding"}
    assert _fields(upstream, left_out) == _fields(client, left_out)


def _swapped(client, upstream, provider_key, slots):
    """Exactly one slot is filled, with the provider's key, and nothing of the client's is anywhere."""
    filled = {name.lower(): value.removeprefix("Bearer ") for name, value in upstream.headers if name.lower() in SLOTS}
    assert len(filled) == 1 and filled.keys() <= slots, filled.keys()
    assert set(filled.values()) == {provider_key}
    secrets = {value.split(" ")[-1] for name, value in client.headers if name.lower() in SLOTS}
    everything = [upstream.target.encode(), upstream.body, *(value.encode() for _, value in upstream.headers)]
    assert secrets and not [secret for secret in secrets for text in everything if secret.encode() in text]


def event_by_event(provider, stream, count: int, silent: set[int] = frozenset()):
    """Yields each of `count` events after the provider sent it and before it may send the next.

    `silent` are the places of events that the SDK swallows. A gateway that holds an event back makes the SDK time out.
    """
    events = iter(stream)
    for place in range(count):
        provider.release()
        if place not in silent:
            yield next(events)
    provider.release(100)
    assert list(events) == []
