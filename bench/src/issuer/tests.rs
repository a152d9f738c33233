use std::time::SystemTime;

use http::StatusCode;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};

use super::{ALGORITHMS, Algorithm, Issuer, KeySetAnswer};
use crate::provider::Gate;

const PUBLIC: [Algorithm; 4] = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];

async fn get(url: &str) -> (u16, Vec<u8>) {
    let answer = crate::within("an answer", crate::client::http().build().unwrap().get(url).send()).await.unwrap();
    (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
}

async fn key_set(issuer: &Issuer) -> JwkSet {
    serde_json::from_slice(&get(&issuer.key_set_url()).await.1).unwrap()
}

fn claims(issuer: &Issuer) -> Value {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    json!({"iss": issuer.url(), "aud": "portcullis", "sub": "someone", "exp": now + 600})
}

/// Whether someone who has this key set and expects this algorithm believes the token.
fn is_believed(issuer: &Issuer, token: &str, keys: &JwkSet, algorithm: Algorithm) -> bool {
    let mut expected = Validation::new(algorithm);
    expected.set_audience(&["portcullis"]);
    expected.set_issuer(&[issuer.url()]);
    let header = decode_header(token).unwrap();
    let Some(key) = keys.find(&header.kid.unwrap()) else { return false };
    let claims = decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &expected);
    claims.is_ok_and(|decoded| decoded.claims["sub"] == "someone")
}

#[tokio::test]
async fn signs_tokens_that_its_key_set_proves() {
    let issuer = Issuer::start().unwrap();
    let keys = key_set(&issuer).await;
    for algorithm in PUBLIC {
        let token = issuer.mint(algorithm, &claims(&issuer));
        assert!(is_believed(&issuer, &token, &keys, algorithm), "{algorithm:?}");
        let (signed, _) = token.rsplit_once('.').unwrap();
        let (_, signature) = issuer
            .mint(algorithm, &json!({"sub": "another"}))
            .rsplit_once('.')
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .unwrap();
        assert!(!is_believed(&issuer, &format!("{signed}.{signature}"), &keys, algorithm), "{algorithm:?}");
    }
    let published = serde_json::to_string(&keys).unwrap();
    assert!(!published.contains("\"oct\"") && !published.contains("\"d\""), "{published}");
    assert_eq!(issuer.key_fetches(), 1);
}

#[tokio::test]
async fn signs_with_the_shared_secret() {
    let issuer = Issuer::start().unwrap();
    let token = issuer.mint(Algorithm::HS256, &claims(&issuer));
    let mut expected = Validation::new(Algorithm::HS256);
    expected.set_audience(&["portcullis"]);
    let believed =
        |secret: &str| decode::<Value>(&token, &DecodingKey::from_secret(secret.as_bytes()), &expected).is_ok();
    assert!(believed(issuer.hs256_secret()) && !believed("another"));
}

#[tokio::test]
async fn is_found_by_its_openid_configuration() {
    let issuer = Issuer::start().unwrap();
    let (status, body) = get(&format!("{}/.well-known/openid-configuration", issuer.url())).await;
    let configuration: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, issuer.discoveries()), (200, 1));
    assert_eq!(
        (&configuration["issuer"], &configuration["jwks_uri"]),
        (&issuer.url().into(), &issuer.key_set_url().into())
    );
}

#[tokio::test]
async fn rotates_its_keys() {
    let issuer = Issuer::start().unwrap();
    let (before, old_token) = (key_set(&issuer).await, issuer.mint(Algorithm::ES256, &claims(&issuer)));
    issuer.rotate();
    let new_token = issuer.mint(Algorithm::ES256, &claims(&issuer));
    let believed =
        |keys: &JwkSet| [&old_token, &new_token].map(|token| is_believed(&issuer, token, keys, Algorithm::ES256));
    assert_eq!(believed(&before), [true, false]);
    assert_eq!(believed(&key_set(&issuer).await), [true, true]);
    issuer.withdraw_old_keys();
    assert_eq!(believed(&key_set(&issuer).await), [false, true]);
    // Other issuers of this process begin with the first keys all the same.
    assert_eq!(Issuer::start().unwrap().header(Algorithm::ES256).kid.as_deref(), Some("es256-0"));
}

#[tokio::test]
async fn fails_as_it_is_told() {
    let issuer = Issuer::start().unwrap();
    issuer.answer_with(KeySetAnswer::Status(StatusCode::INTERNAL_SERVER_ERROR));
    assert_eq!(get(&issuer.key_set_url()).await.0, 500);
    issuer.answer_with(KeySetAnswer::Garbage);
    assert!(serde_json::from_slice::<Value>(&get(&issuer.key_set_url()).await.1).is_err());
    issuer.answer_with(KeySetAnswer::Huge(5 << 20));
    assert!(get(&issuer.key_set_url()).await.1.len() > 5 << 20);
    let gate = Gate::closed();
    issuer.answer_with(KeySetAnswer::Held(gate.clone()));
    let url = issuer.key_set_url();
    let held = tokio::spawn(async move { get(&url).await });
    let asked = async {
        while issuer.key_fetches() < 4 {
            tokio::task::yield_now().await;
        }
    };
    crate::within("the fourth question", asked).await;
    assert!(!held.is_finished());
    gate.open();
    assert_eq!(held.await.unwrap().0, 200);
    issuer.answer_with(KeySetAnswer::Keys);
    assert_eq!(key_set(&issuer).await.keys.len(), ALGORITHMS.len() - 1);
}
