"""anthropic, both generations: 0.x sends the key in `X-Api-Key` (and a second credential in `Authorization`), 2.x as Bearer."""

import anthropic
import pytest
from conftest import FOREIGN_TOKEN, TIMEOUT, WRONG_KEY, event_by_event

MODEL = "claude-test"
ASK = {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": "Grüß Gott"}]}
TEXT = "Hello from upstream."
# Anthropic takes a key in either; the gateway fills exactly one.
SLOTS = {"x-api-key", "authorization"}


@pytest.fixture
def client(relay, key):
    return anthropic.Anthropic(base_url=relay.url, api_key=key, timeout=TIMEOUT)


def test_messages(client, relay, exchange):
    answer = client.messages.create(**ASK)
    assert (answer.content[0].text, answer.usage.output_tokens) == (TEXT, 6)
    assert "anthropic-version" in {name.lower() for name, _ in relay.requests()[0].headers}
    exchange("anthropic", SLOTS)


def test_messages_stream(client, provider, exchange):
    provider.pace()
    stream = client.messages.create(**ASK, stream=True)
    # The third event is a ping, which the SDK keeps to itself.
    events = list(event_by_event(provider, stream, 9, silent={2}))
    assert "".join(event.delta.text for event in events if event.type == "content_block_delta") == TEXT
    assert (events[0].type, events[-1].type) == ("message_start", "message_stop")
    exchange("anthropic", SLOTS)


def test_stream_context(client, exchange):
    with client.messages.stream(**ASK) as stream:
        assert stream.get_final_text() == TEXT
    exchange("anthropic", SLOTS)


def test_count_tokens(client, exchange):
    count = client.messages.count_tokens(model=MODEL, messages=ASK["messages"])
    assert count.input_tokens == 11
    exchange("anthropic", SLOTS)


def test_beta_messages(client, relay, exchange):
    client.beta.messages.create(**ASK, betas=["context-1m-2025-08-07", "files-api-2025-04-14"])
    betas = [value for name, value in relay.requests()[0].headers if name.lower() == "anthropic-beta"]
    assert betas and "context-1m-2025-08-07" in betas[0]
    exchange("anthropic", SLOTS)


def test_models(client, provider):
    assert MODEL in [model.id for model in client.models.list()]
    assert provider.requests() == [], "the gateway answers by itself"


@pytest.mark.parametrize("token", ["the key", FOREIGN_TOKEN])
def test_both_environment_variables(relay, key, exchange, monkeypatch, token):
    monkeypatch.setenv("ANTHROPIC_BASE_URL", relay.url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", key)
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", key if token == "the key" else token)
    answer = anthropic.Anthropic(timeout=TIMEOUT).messages.create(**ASK)
    assert answer.content[0].text == TEXT
    exchange("anthropic", SLOTS)


def test_auth_token_alone(relay, key, exchange):
    anthropic.Anthropic(base_url=relay.url, auth_token=key, timeout=TIMEOUT).messages.create(**ASK)
    exchange("anthropic", SLOTS)


def test_wrong_key_is_not_retried(client, relay, provider):
    with pytest.raises(anthropic.AuthenticationError) as raised:
        client.with_options(api_key=WRONG_KEY).messages.create(**ASK)
    assert raised.value.body["type"] == "error"
    assert raised.value.body["error"]["type"] == "authentication_error"
    assert (len(relay.requests()), provider.requests()) == (1, [])


def test_forbidden_model_is_not_retried(client, limited_key, relay, provider):
    with pytest.raises(anthropic.PermissionDeniedError) as raised:
        client.with_options(api_key=limited_key).messages.create(**ASK)
    assert raised.value.body["error"]["type"] == "permission_error"
    assert (len(relay.requests()), provider.requests()) == (1, [])


def test_provider_rate_limit(client, provider, exchange):
    provider.fail(429, retry_after="7")
    with pytest.raises(anthropic.RateLimitError) as raised:
        client.with_options(max_retries=0).messages.create(**ASK)
    assert raised.value.response.headers["retry-after"] == "7"
    assert raised.value.body["error"]["type"] == "rate_limit_error"
    exchange("anthropic", SLOTS)


def test_provider_rate_limit_is_retried_by_the_sdk(client, provider, exchange):
    provider.fail(429, retry_after_ms="1")
    assert client.messages.create(**ASK).content[0].text == TEXT
    exchange("anthropic", SLOTS, count=2)
