"""google-genai, both generations: 3.x asks below `/v1`, 1.x below `/v1beta`; the model is in the path."""

import pytest
from conftest import TIMEOUT, WRONG_KEY, event_by_event
from google import genai
from google.genai import errors, types

MODEL = "gemini-2.5-flash"
TEXT = "Hello from upstream."
SLOTS = {"x-goog-api-key"}


def client_for(relay, key):
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=relay.url, timeout=TIMEOUT * 1000))


@pytest.fixture
def client(relay, key):
    with client_for(relay, key) as client:
        yield client


def test_generate(client, exchange):
    answer = client.models.generate_content(model=MODEL, contents="Grüß Gott")
    assert (answer.text, answer.usage_metadata.candidates_token_count) == (TEXT, 6)
    exchange("gemini", SLOTS)


def test_generate_stream(client, provider, relay, exchange):
    provider.pace()
    stream = client.models.generate_content_stream(model=MODEL, contents="Hello")
    chunks = list(event_by_event(provider, stream, 3))
    assert [chunk.text for chunk in chunks] == ["Hello ", "from ", "upstream."]
    assert relay.requests()[0].target.endswith(f"/models/{MODEL}:streamGenerateContent?alt=sse")
    exchange("gemini", SLOTS)


def test_count_tokens(client, exchange):
    assert client.models.count_tokens(model=MODEL, contents="Hello").total_tokens == 11
    exchange("gemini", SLOTS)


def test_embed(client, exchange):
    answer = client.models.embed_content(model="gemini-embedding-001", contents=["a", "b"])
    assert [entry.values for entry in answer.embeddings] == [[0.25, -0.5, 0.75]] * 2
    exchange("gemini", SLOTS)


def test_models(client, provider):
    assert f"models/{MODEL}" in [model.name for model in client.models.list()]
    assert provider.requests() == [], "the gateway answers by itself"


@pytest.mark.parametrize("status", [401, 403])
def test_refusals_are_not_retried(relay, limited_key, provider, status):
    key = WRONG_KEY if status == 401 else limited_key
    with client_for(relay, key) as client, pytest.raises(errors.ClientError) as raised:
        client.models.generate_content(model=MODEL, contents="Hello")
    assert raised.value.code == status
    assert raised.value.status == {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}[status]
    assert (len(relay.requests()), provider.requests()) == (1, [])


def test_provider_rate_limit(client, provider, exchange):
    provider.fail(429, retry_after="7")
    with pytest.raises(errors.ClientError) as raised:
        client.models.generate_content(model=MODEL, contents="Hello")
    assert (raised.value.code, raised.value.status) == (429, "RESOURCE_EXHAUSTED")
    assert raised.value.response.headers["retry-after"] == "7"
    exchange("gemini", SLOTS)
