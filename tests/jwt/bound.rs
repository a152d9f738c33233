//! Tokens that are bound to a key or a certificate, over the wire: without their proof they count for nothing.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Method;
use portcullis_bench::gateway::Answer;
use portcullis_bench::issuer::{Algorithm, Header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::scene::{CHAT, Lines, Scene, now};

fn digest(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(bytes.as_ref()))
}

/// A chat that presents a token in this way.
async fn present(scene: &Scene, authorization: &str, header: Option<(&str, &str)>) -> Answer {
    let mut request = scene.gateway.request(Method::POST, CHAT).header("authorization", authorization);
    if let Some((name, value)) = header {
        scene.gateway.client_credential(value);
        request = request.header(name, value);
    }
    scene.gateway.send(request.header("content-type", "application/json").body(r#"{"model":"gpt-4o"}"#)).await
}

/// The public half of the key that signs proofs here: that of the issuer's ES256, which serves as a client's.
fn client_key(scene: &Scene) -> Value {
    let set: Value = serde_json::from_str(&scene.issuer.key_set()).unwrap();
    let key = set["keys"].as_array().unwrap().iter().find(|key| key["crv"] == "P-256").unwrap();
    json!({"crv": "P-256", "kty": "EC", "x": key["x"], "y": key["y"]})
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_key_needs_a_fresh_proof_for_each_request() {
    let public = "  public_urls: [https://llm.example.com]";
    let scene = Scene::new(Lines { issuer: public, ..Lines::default() }).await;
    let key = client_key(&scene);
    let token = scene.token(json!({"cnf": {"jkt": digest(key.to_string())}}));
    let free = scene.token(json!({}));
    let proof = |id: &str, method: &str, token: &str| {
        let header = Header {
            typ: Some("dpop+jwt".to_owned()),
            kid: None,
            jwk: Some(serde_json::from_value(key.clone()).unwrap()),
            ..Header::new(Algorithm::ES256)
        };
        // A second ahead: proofs of the second in which the process started are refused.
        let claims = json!({
            "jti": id, "htm": method, "htu": format!("https://llm.example.com{CHAT}"), "iat": now() + 1,
            "ath": digest(token),
        });
        scene.issuer.mint_with(&header, &claims)
    };
    let (bound, bearer) = (format!("DPoP {token}"), format!("Bearer {token}"));
    let first = proof("first", "POST", &token);
    for (what, authorization, proof, status) in [
        ("a fresh proof", &bound, Some(first.clone()), 200),
        ("the same proof again", &bound, Some(first), 401),
        ("another proof", &bound, Some(proof("second", "POST", &token)), 200),
        ("no proof", &bound, None, 401),
        ("a bearer", &bearer, None, 401),
        ("a bearer with a proof", &bearer, Some(proof("third", "POST", &token)), 401),
        ("a proof for another method", &bound, Some(proof("fourth", "GET", &token)), 401),
        ("a proof for another token", &bound, Some(proof("fifth", "POST", &free)), 401),
        ("a token that is bound to no key", &format!("DPoP {free}"), Some(proof("sixth", "POST", &free)), 401),
        ("the same as a bearer", &format!("Bearer {free}"), None, 200),
    ] {
        let answer = present(&scene, authorization, proof.as_deref().map(|proof| ("dpop", proof))).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.json());
    }
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_certificate_needs_it_from_a_trusted_proxy() {
    // Any DER will do: the proxy in front has verified it, and here its digest counts.
    let (certificate, other) = ([0x30, 0x03, 0x02, 0x01, 0x01], [0x30, 0x03, 0x02, 0x01, 0x02]);
    let header = |der: [u8; 5]| format!(":{}:", STANDARD.encode(der));
    for (trusted, shown, status) in [
        ("127.0.0.0/8", Some(header(certificate)), 200),
        ("127.0.0.0/8", Some(header(other)), 401),
        ("127.0.0.0/8", None, 401),
        ("192.0.2.0/24", Some(header(certificate)), 401),
    ] {
        let general = format!("  trusted_proxy_ranges: [{trusted}]");
        let issuer = "  client_certificate_header: Client-Cert";
        let scene = Scene::new(Lines { general: &general, issuer, ..Lines::default() }).await;
        let token = scene.token(json!({"cnf": {"x5t#S256": digest(certificate)}}));
        let shown = shown.as_deref().map(|value| ("client-cert", value));
        let answer = present(&scene, &format!("Bearer {token}"), shown).await;
        assert_eq!(answer.status, status, "{trusted} {shown:?}: {}", answer.json());
        let mut seen = scene.provider.requests().into_iter().flat_map(|request| request.headers);
        assert!(seen.all(|(name, _)| !name.eq_ignore_ascii_case("client-cert")), "never forwarded");
        scene.gateway.stop().await;
    }
}
