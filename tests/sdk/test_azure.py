"""`AzureOpenAI`, both generations: the model is in the path, the key in `api-key`."""

import openai
import pytest
from conftest import TIMEOUT, WRONG_KEY, event_by_event

DEPLOYMENT = "azure-gpt-4o"
MESSAGES = [{"role": "user", "content": "Hello"}]
TEXT = "Hello from upstream."
SLOTS = {"api-key"}


@pytest.fixture
def client(relay, key):
    return openai.AzureOpenAI(azure_endpoint=relay.url, api_key=key, api_version="2024-10-21", timeout=TIMEOUT)


def test_chat(client, relay, exchange):
    answer = client.chat.completions.create(model=DEPLOYMENT, messages=MESSAGES)
    assert answer.choices[0].message.content == TEXT
    assert relay.requests()[0].target == f"/openai/deployments/{DEPLOYMENT}/chat/completions?api-version=2024-10-21"
    exchange("azure", SLOTS)


def test_chat_stream(client, provider, exchange):
    provider.pace()
    stream = client.chat.completions.create(
        model=DEPLOYMENT, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(event_by_event(provider, stream, 6))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT
    exchange("azure", SLOTS)


def test_responses(client, relay, exchange):
    answer = client.responses.create(model=DEPLOYMENT, input="Hello")
    assert answer.output_text == TEXT
    assert relay.requests()[0].target == "/openai/responses?api-version=2024-10-21"
    exchange("azure", SLOTS)


def test_ad_token(relay, key, exchange):
    client = openai.AzureOpenAI(
        azure_endpoint=relay.url, azure_ad_token=key, api_version="2024-10-21", timeout=TIMEOUT
    )
    client.chat.completions.create(model=DEPLOYMENT, messages=MESSAGES)
    exchange("azure", SLOTS)


def test_wrong_key_is_not_retried(client, relay, provider):
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key=WRONG_KEY).chat.completions.create(model=DEPLOYMENT, messages=MESSAGES)
    assert (len(relay.requests()), provider.requests()) == (1, [])


def test_forbidden_model_is_not_retried(client, limited_key, relay, provider):
    with pytest.raises(openai.PermissionDeniedError):
        client.with_options(api_key=limited_key).chat.completions.create(model=DEPLOYMENT, messages=MESSAGES)
    assert (len(relay.requests()), provider.requests()) == (1, [])


def test_provider_rate_limit(client, provider, exchange):
    provider.fail(429, retry_after="7")
    with pytest.raises(openai.RateLimitError) as raised:
        client.with_options(max_retries=0).chat.completions.create(model=DEPLOYMENT, messages=MESSAGES)
    assert raised.value.response.headers["retry-after"] == "7"
    exchange("azure", SLOTS)
