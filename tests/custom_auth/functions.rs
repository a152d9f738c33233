//! Functions of the kinds that people write, and what becomes of each: what it lets in, what it refuses and in which words,
//! and what is no answer.

use portcullis_bench::gateway::Answer;
use serde_json::Value;

use crate::scene::{Lines, Scene};

/// The beginning of each file.
const IMPORTS: &str = "\
import asyncio, json, os, sys, time
from fastapi import HTTPException, Request
from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth

";

fn words(answer: &Answer) -> (u16, String) {
    let body: Value = answer.json();
    let error = &body["error"];
    let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    (answer.status, format!("{} {}", text("type"), text("message")).trim().to_owned())
}

async fn outcome(body: &str, lines: Lines<'_>, credential: &str) -> (u16, String) {
    let scene = Scene::new(&format!("{IMPORTS}{body}"), lines).await;
    let outcome = words(&scene.ask(credential).await);
    let forwarded = scene.provider.requests().len();
    assert_eq!(forwarded, usize::from(outcome.0 == 200), "{body}");
    scene.gateway.stop().await;
    outcome
}

const UNAVAILABLE: &str = "auth_provider_unavailable Credentials cannot be verified at the moment. Try again.";
const REFUSED: &str = "auth_error Authentication Error, Invalid credentials.";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_function_says_is_what_the_caller_gets() {
    let json_web_token = "
import base64, hashlib, hmac
async def decide(request, api_key):
    head, body, signature = api_key.split('.')
    wanted = hmac.new(b'our own secret', f'{head}.{body}'.encode(), hashlib.sha256).digest()
    if not hmac.compare_digest(base64.urlsafe_b64encode(wanted).rstrip(b'=').decode(), signature):
        raise Exception('bad signature')
    return UserAPIKeyAuth(user_id=json.loads(base64.urlsafe_b64decode(body + '=='))['sub'])
";
    for (function, credential, status, text) in [
        ("async def decide(request, api_key):\n    return UserAPIKeyAuth(api_key=api_key)\n", "any-text", 200, ""),
        ("def decide(request, api_key):\n    return UserAPIKeyAuth(api_key=api_key)\n", "not-async", 200, ""),
        (
            "class Decide:\n    async def __call__(self, request, api_key):\n        return UserAPIKeyAuth()\ndecide = Decide()\n",
            "an-object",
            200,
            "",
        ),
        (
            "import sqlite3\nknown = sqlite3.connect(':memory:', check_same_thread=False)\nknown.execute('create table k (k text)')\n\
             known.execute(\"insert into k values ('in-the-' || 'table')\")\ndef decide(request, api_key):\n    \
             row = known.execute('select k from k where k = ?', (api_key,)).fetchone()\n    \
             if row is None: raise HTTPException(401, 'not in the table')\n    return UserAPIKeyAuth(user_id='ann')\n",
            "in-the-table",
            200,
            "",
        ),
        (
            "async def decide(request, api_key):\n    await asyncio.sleep(0.05)\n    return UserAPIKeyAuth()\n",
            "slow-directory",
            200,
            "",
        ),
        (json_web_token, "e30.eyJzdWIiOiAiYW5uIn0.4PVj43THXRwE8X8gAnH6CmOck0AqptKurEYh4lFhEc8", 200, ""),
        (json_web_token, "e30.eyJzdWIiOiAiYW5uIn0.4PVj43THXRwE8X8gAnH6CmOck0AqptKurEYh4lFAAAA", 401, REFUSED),
        (
            "async def decide(request: Request, api_key: str):\n    assert request.method == 'POST' and request.url.path == '/v1/chat/completions'\n    \
             assert request.client.host == '127.0.0.1' and request.query_params.get('x') is None\n    \
             assert request.headers['Content-Type'] == 'application/json' and request.cookies == {}\n    \
             request.state.seen = True\n    return UserAPIKeyAuth()\n",
            "looks-at-the-request",
            200,
            "",
        ),
        (
            "async def decide(request, api_key):\n    return UserAPIKeyAuth(models=['o3'], user_role=LitellmUserRoles.INTERNAL_USER)\n",
            "another-model",
            403,
            "key_model_access_denied key not allowed to access model. The model does not exist or this key may not use it.",
        ),
        (
            "async def decide(request, api_key):\n    return UserAPIKeyAuth(max_budget=10.0, spend=10.5, metadata={'a': [1]})\n",
            "spent-it-all",
            429,
            "budget_exceeded Budget has been exceeded! It is max_budget of the key.",
        ),
        (
            "from datetime import datetime, timedelta\nasync def decide(request, api_key):\n    \
             return UserAPIKeyAuth(expires=datetime.utcnow() - timedelta(minutes=1))\n",
            "too-late",
            401,
            "expired_key Authentication Error, Expired Key.",
        ),
        (
            "async def decide(request, api_key):\n    return UserAPIKeyAuth(blocked=True)\n",
            "blocked-one",
            401,
            "auth_error Authentication Error, Key is blocked.",
        ),
        (
            "class Suspended(UserAPIKeyAuth):\n    blocked: bool = True\nasync def decide(request, api_key):\n    return Suspended()\n",
            "blocked-by-its-class",
            401,
            "auth_error Authentication Error, Key is blocked.",
        ),
        (
            "ready = asyncio.get_event_loop().create_future()\nready.set_result(True)\nasync def decide(request, api_key):\n    \
             await asyncio.wait_for(ready, 5)\n    return UserAPIKeyAuth()\n",
            "made-at-import",
            200,
            "",
        ),
        (
            "async def decide(request, api_key):\n    raise HTTPException(403, detail='suspended')\n",
            "refused-403",
            403,
            "auth_error suspended",
        ),
        (
            "async def decide(request, api_key):\n    raise HTTPException(status_code=429, detail={'wait': 5})\n",
            "refused-429",
            429,
            "auth_error {'wait': 5}",
        ),
        (
            "async def decide(request, api_key):\n    raise ProxyException(message='Pay first', type='invalid_request_error', param='key', code=402)\n",
            "refused-402",
            402,
            "invalid_request_error Pay first",
        ),
        (
            "async def decide(request, api_key):\n    raise ValueError('secret detail ' + api_key)\n",
            "plain-error",
            401,
            REFUSED,
        ),
        (
            "async def decide(request, api_key):\n    raise HTTPException(403, api_key + ' is bad')\n",
            "repeated-one",
            403,
            "auth_error *** is bad",
        ),
        (
            "async def decide(request, api_key):\n    print('got', api_key)\n    return UserAPIKeyAuth()\n",
            "printed-one",
            200,
            "",
        ),
        (
            "async def decide(request, api_key):\n    return 'sk-master' + '-custom-0123456789'\n",
            "stands-for-the-master",
            200,
            "",
        ),
    ] {
        let (found, said) = outcome(function, Lines::default(), credential).await;
        assert_eq!((found, said.as_str()), (status, text), "{function}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_is_503_and_never_a_pass() {
    for (function, own) in [
        ("async def decide(request, api_key):\n    return True\n", ""),
        ("async def decide(request, api_key):\n    return {'user_id': 'ann'}\n", ""),
        ("async def decide(request, api_key):\n    return UserAPIKeyAuth(models='gpt-4o')\n", ""),
        ("async def decide(request, api_key):\n    time.sleep(3600)\n", "    timeout: 300ms\n"),
        ("def decide(request, api_key):\n    time.sleep(3600)\n", "    timeout: 300ms\n"),
        ("async def decide(request, api_key):\n    await asyncio.sleep(3600)\n", "    timeout: 300ms\n"),
        ("async def decide(request, api_key):\n    while True: pass\n", "    timeout: 300ms\n"),
        ("async def decide(request, api_key):\n    raise asyncio.CancelledError()\n", ""),
        ("async def decide(request, api_key):\n    sys.exit(0)\n", ""),
        ("async def decide(request, api_key):\n    os._exit(0)\n", ""),
        (
            "async def decide(request, api_key):\n    return UserAPIKeyAuth(metadata={'x': bytearray(1 << 30) and 1})\n",
            "    memory: 256MiB\n",
        ),
        (
            "import no_such_module_at_all\nasync def decide(request, api_key):\n    return UserAPIKeyAuth()\n",
            "    timeout: 2s\n",
        ),
        ("decide = 7\n", "    timeout: 2s\n"),
    ] {
        let lines = Lines { own, ..Lines::default() };
        assert_eq!(outcome(function, lines, "some-credential").await, (503, UNAVAILABLE.to_owned()), "{function}");
        let auto = Lines { general: "  custom_auth_settings: {mode: auto}\n", own };
        assert_eq!(outcome(function, auto, crate::scene::MASTER).await.0, 503, "auto: {function}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_that_come_with_an_identity_are_in_force_or_named() {
    let function = "async def decide(request, api_key):\n    \
        return UserAPIKeyAuth(api_key=api_key, rpm_limit=2, model_max_budget={'gpt-4o': {}})\n";
    let scene = Scene::new(&format!("{IMPORTS}{function}"), Lines::default()).await;
    let mut statuses = Vec::new();
    for credential in ["one-caller", "one-caller", "one-caller", "another-caller"] {
        statuses.push(scene.ask(credential).await.status);
    }
    // A minute may end between two of them.
    assert!(statuses[..2] == [200, 200] && matches!(statuses[2], 429 | 200) && statuses[3] == 200, "{statuses:?}");
    let refused = scene.ask("one-caller").await;
    assert!(refused.status == 429 && refused.headers.contains_key("retry-after"), "{refused:?}");
    scene.gateway.printed("model_max_budget").await;
    scene.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_prints_and_why_it_fails_is_in_the_log_without_the_credential() {
    let function = "async def decide(request, api_key):\n    print('asked about', api_key)\n    \
        raise ValueError('no row for ' + api_key)\n";
    let scene = Scene::new(&format!("{IMPORTS}{function}"), Lines::default()).await;
    assert_eq!(scene.ask("told-to-nobody").await.status, 401);
    scene.gateway.printed("asked about ***").await;
    scene.gateway.printed("ValueError: no row for ***").await;
    scene.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn none_is_nobody_and_with_auto_somebody_elses() {
    let function = "async def decide(request, api_key):\n    return None\n";
    assert_eq!(outcome(function, Lines::default(), crate::scene::MASTER).await.0, 401);
    let auto = Lines { general: "  custom_auth_settings: {mode: auto}\n", own: "" };
    assert_eq!(outcome(function, auto, crate::scene::MASTER).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_and_the_environment_are_given_as_configured() {
    let reads = "async def decide(request, api_key):\n    \
        assert (await request.json())['model'] == 'gpt-4o' and b'gpt-4o' in await request.body()\n    return UserAPIKeyAuth()\n";
    assert_eq!(outcome(reads, Lines { own: "    body: true\n", general: "" }, "reads-the-body").await.0, 200);
    assert_eq!(outcome(reads, Lines::default(), "reads-no-body").await, (401, REFUSED.to_owned()));
    let looks = "assert not [name for name in os.environ if 'KEY' in name or 'DATABASE' in name or 'CARGO' in name]\n\
        assert 'PATH' in os.environ\nasync def decide(request, api_key):\n    return UserAPIKeyAuth()\n";
    assert_eq!(outcome(looks, Lines::default(), "looks-around").await.0, 200);
}
