//! Which tokens are let in, by both ways of configuring an issuer, and how the others are refused.

use http::Method;
use portcullis_bench::issuer::{ALGORITHMS, Algorithm, Header, Issuer};
use portcullis_bench::provider::Provider;
use serde_json::{Value, json};

use crate::scene::{AUDIENCE, Lines, MASTER, MODELS, Scene, chat, now, setup};

#[tokio::test]
async fn a_token_of_each_algorithm_is_let_in_and_never_reaches_the_provider() {
    let scene = Scene::new(Lines::default()).await;
    for algorithm in ALGORITHMS.into_iter().filter(|algorithm| *algorithm != Algorithm::HS256) {
        let token = scene.known(scene.issuer.mint(algorithm, &scene.claims(json!({}))));
        for _ in 0..2 {
            let answer = scene.chat(&token).await;
            assert_eq!(answer.status, 200, "{algorithm:?} {}", answer.json());
        }
    }
    assert_eq!(scene.issuer.key_fetches(), 1, "one fetch serves all");
    let seen = scene.provider.requests();
    assert_eq!(seen.len(), 8);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_token_is_read_in_every_slot_beside_keys() {
    let scene = Scene::new(Lines::default()).await;
    let (token, key) = (scene.token(json!({})), scene.gateway.generate_key(&json!({})).await);
    for header in ["x-litellm-api-key", "api-key", "x-api-key", "x-goog-api-key", "ocp-apim-subscription-key"] {
        let request = scene.gateway.request(Method::GET, MODELS).header(header, &token);
        assert_eq!(scene.gateway.send(request).await.status, 200, "{header}");
    }
    for credential in [key.as_str(), MASTER] {
        let request = scene.gateway.request(Method::GET, MODELS).bearer_auth(credential);
        assert_eq!(scene.gateway.send(request).await.status, 200, "keys go on working");
    }
    scene.gateway.stop().await;
}

#[tokio::test]
async fn litellms_own_settings_let_tokens_in() {
    let (issuer, provider) = (Issuer::start().unwrap(), Provider::start().unwrap());
    for (url, iss, aud, status) in [
        (issuer.key_set_url(), "", "", 200),
        (format!("{}/.well-known/openid-configuration", issuer.url()), issuer.url(), AUDIENCE, 200),
        (issuer.key_set_url(), "https://another.example", "", 401),
        (issuer.key_set_url(), "", "another-audience", 401),
    ] {
        let config = format!(
            "model_list:\n  - model_name: gpt-4o\n    litellm_params:\n      model: openai/gpt-4o\n      \
             api_base: {}/v1\n      api_key: provider-key-0123456789\n\
             general_settings:\n  master_key: {MASTER}\n  enable_jwt_auth: true\n",
            provider.url()
        );
        let gateway = crate::support::gateway(&config).env("JWT_PUBLIC_KEY_URL", &url);
        let gateway = gateway.env("JWT_ISSUER", iss).env("JWT_AUDIENCE", aud).start().await;
        gateway.watch(&provider);
        let claims = json!({"iss": issuer.url(), "aud": AUDIENCE, "sub": "zhangsan", "exp": now() + 300});
        let token = issuer.mint(Algorithm::RS256, &claims);
        gateway.client_credential(&token);
        let answer = chat(&gateway, &token, "gpt-4o").await;
        assert_eq!(answer.status, status, "{url} {iss} {aud}: {}", answer.json());
        let loud = gateway.output().contains("JWT_ISSUER");
        assert_eq!(loud, iss.is_empty() && aud.is_empty(), "an unchecked issuer is said loudly");
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_token_that_is_not_believed_gets_one_constant_answer() {
    let scene = Scene::new(Lines::default()).await;
    let stranger = Issuer::start().unwrap();
    stranger.rotate();
    let good = scene.token(json!({}));
    let (message, signature) = good.rsplit_once('.').unwrap();
    let hs256 = Header { kid: scene.issuer.header(Algorithm::RS256).kid, ..Header::new(Algorithm::HS256) };
    let tokens = [
        ("signed by somebody else", stranger.mint(Algorithm::RS256, &scene.claims(json!({})))),
        ("of another issuer", scene.token(json!({"iss": stranger.url()}))),
        ("of no issuer", scene.token(json!({"iss": null}))),
        ("of an issuer with a slash", scene.token(json!({"iss": format!("{}/", scene.issuer.url())}))),
        ("for another audience", scene.token(json!({"aud": ["account"]}))),
        ("for no audience", scene.token(json!({"aud": null}))),
        ("without an end", scene.token(json!({"exp": null}))),
        ("not yet good", scene.token(json!({"nbf": now() + 120}))),
        ("from the future", scene.token(json!({"iat": now() + 120}))),
        ("with an end in words", scene.token(json!({"exp": "tomorrow"}))),
        ("a shared secret for a key set", scene.issuer.mint_with(&hs256, &scene.claims(json!({})))),
        ("cut", format!("{message}.{}", &signature[..signature.len() - 4])),
        ("without a signature", format!("{message}.")),
    ];
    let mut bodies: Vec<Value> = Vec::new();
    for (what, token) in tokens {
        let answer = scene.chat(&scene.known(token)).await;
        assert_eq!(answer.status, 401, "{what}: {}", answer.json());
        assert_eq!(answer.headers["www-authenticate"], r#"Bearer realm="portcullis", error="invalid_token""#, "{what}");
        bodies.push(answer.json());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let expired = scene.chat(&scene.token(json!({"exp": now() - 60}))).await;
    assert_eq!((expired.status, expired.json()["error"]["type"].as_str()), (401, Some("expired_key")));
    assert_eq!(scene.provider.requests().len(), 0);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn the_rules_of_an_issuer_count() {
    let (issuer, provider) = (Issuer::start().unwrap(), Provider::start().unwrap());
    let cases = [
        ("        algorithms: [ES256]", json!({}), 401),
        ("        algorithms: [ES256, RS256]", json!({}), 200),
        ("        max_age: 60", json!({"iat": now() - 200}), 401),
        ("        max_age: 60", json!({"iat": now() - 20}), 200),
        ("        required_claims: [azp]", json!({}), 401),
        ("        required_claims: [azp]", json!({"azp": "litellm"}), 200),
        ("        token_types: [at+jwt]", json!({}), 401),
        ("        leeway: 0", json!({"exp": now() - 10}), 401),
        ("        leeway: 60", json!({"exp": now() - 10}), 200),
    ];
    for (line, other, status) in cases {
        let gateway = setup(&issuer, &provider, Lines { issuer: line, ..Lines::default() }).start().await;
        let scene = Scene { issuer: Issuer::start().unwrap(), gateway, provider: Provider::start().unwrap() };
        let mut claims = scene.claims(other.clone());
        claims["iss"] = issuer.url().into();
        let token = scene.known(issuer.mint(Algorithm::RS256, &claims));
        let answer = scene.chat(&token).await;
        assert_eq!(answer.status, status, "{line} {other}: {}", answer.json());
        scene.gateway.stop().await;
    }
}
