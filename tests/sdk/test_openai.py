"""openai, both generations: `OpenAI` with a base URL and a key, nothing else changed."""

import openai
import pytest
from conftest import FOREIGN_TOKEN, TIMEOUT, WRONG_KEY, event_by_event

MODEL = "gpt-4o"
MESSAGES = [{"role": "user", "content": "Grüß Gott, 世界 \u2028 \"quoted\""}]
TEXT = "Hello from upstream."
BEARER = {"authorization"}


@pytest.fixture
def client(relay, key):
    return openai.OpenAI(base_url=f"{relay.url}/v1", api_key=key, timeout=TIMEOUT, organization="org-1", project="proj_1")


def test_chat(client, exchange):
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES, extra_query={"trace": "a b/c"})
    assert answer.choices[0].message.content == TEXT
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (11, 6)
    exchange("openai", BEARER)


def test_chat_stream(client, provider, exchange):
    provider.pace()
    stream = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(event_by_event(provider, stream, 6))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT
    assert chunks[-1].usage.total_tokens == 17
    exchange("openai", BEARER)


def test_responses(client, exchange):
    answer = client.responses.create(model=MODEL, input="Hello", extra_headers={"OpenAI-Beta": "responses=v1"})
    assert answer.output_text == TEXT
    exchange("openai", BEARER)


def test_responses_stream(client, provider, exchange):
    provider.pace()
    stream = client.responses.create(model=MODEL, input="Hello", stream=True)
    events = list(event_by_event(provider, stream, 11))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == TEXT
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    exchange("openai", BEARER)


def test_embeddings(client, relay, exchange):
    answer = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
    assert [entry.embedding for entry in answer.data] == [[0.25, -0.5, 0.75]] * 2
    assert b'"encoding_format":"base64"' in relay.requests()[0].body.replace(b" ", b"")
    exchange("openai", BEARER)


def test_a_key_and_an_address_of_the_callers_own(client, provider):
    own = {"api_key": "own-key-5b1e7a90c3", "api_base": f"{provider.url}/v1"}
    answer = client.chat.completions.create(model="bring-your-own", messages=MESSAGES, extra_body=own)
    assert answer.choices[0].message.content == TEXT
    [arrived] = provider.requests()
    assert [value for name, value in arrived.headers if name.lower() == "authorization"] == [f"Bearer {own['api_key']}"]
    assert b"own-key" not in arrived.body and b"api_base" not in arrived.body

    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model="bring-your-own", messages=MESSAGES, extra_body={"api_base": own["api_base"]})
    assert raised.value.param == "api_base"
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=MODEL, messages=MESSAGES, extra_body=own)
    assert len(provider.requests()) == 1


def test_models(client, provider):
    names = [model.id for model in client.models.list()]
    assert MODEL in names and "only-this" in names
    assert provider.requests() == [], "the gateway answers by itself"


def test_models_of_a_limited_key(client, limited_key):
    assert [model.id for model in client.with_options(api_key=limited_key).models.list()] == ["only-this"]


def test_key_in_the_gateways_own_header(relay, key, provider):
    headers = {"x-litellm-api-key": f"Bearer {key}", "Authorization": f"Bearer {FOREIGN_TOKEN}"}
    client = openai.OpenAI(base_url=f"{relay.url}/v1", api_key="not-needed", timeout=TIMEOUT, default_headers=headers)
    client.chat.completions.create(model=MODEL, messages=MESSAGES)
    (request,) = provider.requests()
    names = {name.lower() for name, _ in request.headers}
    text = repr(request)
    assert "x-litellm-api-key" not in names and key not in text and FOREIGN_TOKEN not in text


def test_a_large_prompt(client, exchange):
    client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "ü" * 200_000}])
    exchange("openai", BEARER)


def test_wrong_key_is_not_retried(client, relay, provider):
    with pytest.raises(openai.AuthenticationError) as raised:
        client.with_options(api_key=WRONG_KEY).chat.completions.create(model=MODEL, messages=MESSAGES)
    assert raised.value.status_code == 401 and WRONG_KEY not in str(raised.value)
    assert (len(relay.requests()), provider.requests()) == (1, [])


def test_forbidden_model_is_not_retried(client, limited_key, relay, provider):
    with pytest.raises(openai.PermissionDeniedError) as raised:
        client.with_options(api_key=limited_key).chat.completions.create(model=MODEL, messages=MESSAGES)
    assert raised.value.body["message"]
    assert (len(relay.requests()), provider.requests()) == (1, [])


def test_chat_stream_that_does_not_ask_for_its_usage(client, provider, relay):
    chunks = list(client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
    assert not [chunk for chunk in chunks if chunk.usage]
    assert b"include_usage" in provider.requests()[0].body and b"include_usage" not in relay.requests()[0].body


def test_rate_limit_says_when_to_come_again(client, refused_key, relay, provider):
    with pytest.raises(openai.RateLimitError) as raised:
        client.with_options(api_key=refused_key, max_retries=0).chat.completions.create(model=MODEL, messages=MESSAGES)
    assert 1 <= int(raised.value.response.headers["retry-after"]) <= 60
    assert raised.value.body["type"] == "throttling_error"
    assert (len(relay.requests()), provider.requests()) == (1, [])


def test_team_over_its_budget(client, spent_key, relay, provider):
    with pytest.raises(openai.RateLimitError) as raised:
        client.with_options(api_key=spent_key, max_retries=0).chat.completions.create(model=MODEL, messages=MESSAGES)
    error = raised.value
    assert (error.body["type"], error.body["code"], error.body["param"]) == ("budget_exceeded", "429", None)
    assert error.body["message"].startswith("Budget has been exceeded!") and "team" in error.body["message"]
    assert "retry-after" not in error.response.headers  # another try does not help
    assert (len(relay.requests()), provider.requests()) == (1, [])


def test_provider_rate_limit(client, provider, exchange):
    provider.fail(429, retry_after="7")
    with pytest.raises(openai.RateLimitError) as raised:
        client.with_options(max_retries=0).chat.completions.create(model=MODEL, messages=MESSAGES)
    assert raised.value.response.headers["retry-after"] == "7"
    assert raised.value.body["code"] == "rate_limit_exceeded"
    exchange("openai", BEARER)


def test_provider_rate_limit_is_retried_by_the_sdk(client, provider, exchange):
    provider.fail(429, retry_after_ms="1")
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert answer.choices[0].message.content == TEXT
    exchange("openai", BEARER, count=2)
