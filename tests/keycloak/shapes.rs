//! Tokens and key sets in the form of Entra ID, Okta and Google, at a gateway that is configured as their page in `docs/` says.
//!
//! Keys are made here, and names and ids are invented; which members there are, and of which type, is what these vendors document.
//! Only the address of the key set is replaced in a page's configuration.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use http::Method;
use portcullis_bench::gateway::Gateway;
use portcullis_bench::issuer::{Algorithm, Header, Issuer, KeySetAnswer};
use serde_json::{Map, Value, json};

use crate::scene::MASTER_KEY;
use crate::support::gateway;

/// What every case asks for; the built-in model answers.
const CHAT: &str = r#"{"model": "mock", "messages": [{"role": "user", "content": "hello"}]}"#;

const TENANT: &str = "8eaef023-0000-4da1-9baa-8bc8c9d6a490";
const CLIENT: &str = "6e74172b-0000-4843-9ff4-e66a39bb12e3";

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_entra_id() {
    let v2 = format!("https://login.microsoftonline.com/{TENANT}/v2.0");
    let kid = "jS1Xo1OWDj_52vbwGNgvQO2VzMc";
    let vendor = Vendor {
        page: "jwt-entra-id.md",
        // No `alg`, and members that the RFC does not know.
        key: json!({
            "kty": "RSA", "use": "sig", "kid": kid, "x5t": kid, "x5c": ["MIIDAAAA"],
            "cloud_instance_name": "microsoftonline.com", "issuer": v2,
        }),
        header: Header { x5t: Some(kid.into()), kid: Some(kid.into()), ..Header::new(Algorithm::RS256) },
        claims: json!({
            "aud": CLIENT, "iss": v2, "aio": "AXQAi/8IAAAAtAaZ", "azp": "75dbe77f-10a3-4e59-85fd-8c127544f17c",
            "azpacr": "0", "name": "Zhang San", "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
            "preferred_username": "zhangsan@example.com", "rh": "I", "roles": ["LLM.User"], "scp": "access_as_user",
            "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ", "tid": TENANT, "uti": "fqiBqXLPj0eQa82S-IYFAA", "ver": "2.0",
        }),
    };
    let service = json!({
        "oid": "0b1f2c3d-0000-4a5b-8c6d-7e8f90a1b2c3", "sub": "0b1f2c3d-0000-4a5b-8c6d-7e8f90a1b2c3", "idtyp": "app",
        "scp": null, "name": null, "preferred_username": null,
    });
    vendor
        .judges(&[
            ("a person", json!({}), Ok("690222be-ff1a-4d56-abd1-7e4f7d38e474")),
            ("a service", service, Ok("0b1f2c3d-0000-4a5b-8c6d-7e8f90a1b2c3")),
            ("nobody gave a role", json!({"roles": null}), Err(403)),
            ("another role", json!({"roles": ["Task.Read"]}), Err(403)),
            ("version 1", json!({"iss": format!("https://sts.windows.net/{TENANT}/"), "ver": "1.0"}), Err(401)),
            ("another tenant", json!({"iss": v2.replace("8eaef023", "72f988bf")}), Err(401)),
            ("all tenants", json!({"iss": v2.replace(TENANT, "{tenantid}")}), Err(401)),
            ("for Graph", json!({"aud": "00000003-0000-0000-c000-000000000000"}), Err(401)),
            ("the name of an API", json!({"aud": format!("api://{CLIENT}")}), Err(401)),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_okta() {
    let kid = "Gm0NnTzYjH1w5fP0c2Vh8dQe7R3sKxLu9oAbCdEfGhI";
    let vendor = Vendor {
        page: "jwt-okta.md",
        key: json!({"kty": "RSA", "alg": "RS256", "kid": kid, "use": "sig"}),
        // Okta's headers have no `typ`.
        header: Header { typ: None, kid: Some(kid.into()), ..Header::new(Algorithm::RS256) },
        claims: json!({
            "ver": 1, "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE", "iss": "https://example.okta.com/oauth2/default",
            "aud": "api://default", "cid": "0oabv6kx4qq6h1U5l0h7", "uid": "00ujmkLgagxeRrAg20g3", "scp": ["openid", "llm"],
            "auth_time": 1_467_145_094, "sub": "zhangsan@example.com", "groups": ["llm-users", "Everyone"],
        }),
    };
    vendor
        .judges(&[
            ("a person", json!({}), Ok("zhangsan@example.com")),
            ("not in the group", json!({"groups": ["Everyone"]}), Err(403)),
            ("a service has no groups", json!({"groups": null, "uid": null, "sub": "0oabv6kx4qq6h1U5l0h7"}), Err(403)),
            (
                "of the org server",
                json!({"iss": "https://example.okta.com", "aud": "https://example.okta.com"}),
                Err(401),
            ),
            ("of another server", json!({"iss": "https://example.okta.com/oauth2/ausbv6kx4qq6h1U5l0h7"}), Err(401)),
            ("an ID token", json!({"jti": "ID.4eAWJOCMB3SX8XewDfVR", "aud": "0oabv6kx4qq6h1U5l0h7"}), Err(401)),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_google() {
    let kid = "c8ab71530972bba20b49f78a09c9852c43ff9118";
    let client = "1234567890-portcullis.apps.googleusercontent.com";
    let vendor = Vendor {
        page: "jwt-google.md",
        key: json!({"kty": "RSA", "alg": "RS256", "kid": kid, "use": "sig"}),
        header: Header { kid: Some(kid.into()), ..Header::new(Algorithm::RS256) },
        claims: json!({
            "iss": "https://accounts.google.com", "azp": client, "aud": client, "sub": "110169484474386276334",
            "hd": "example.com", "email": "zhangsan@example.com", "email_verified": true, "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
            "name": "Zhang San", "picture": "https://lh3.googleusercontent.com/a/invented=s96-c", "given_name": "San",
            "family_name": "Zhang",
        }),
    };
    let service = json!({"iss": "caller@your-project.iam.gserviceaccount.com", "sub": "caller@your-project.iam.gserviceaccount.com"});
    vendor
        .judges(&[
            ("a person", json!({}), Ok("110169484474386276334")),
            ("of another domain", json!({"hd": "example.org", "email": "zhangsan@example.org"}), Err(403)),
            ("a private account with an address of the domain", json!({"hd": null}), Err(403)),
            ("a member with another address", json!({"email": "zhangsan@example.org"}), Err(403)),
            (
                "for gcloud, by which everybody signs in",
                json!({"aud": "32555940559.apps.googleusercontent.com"}),
                Err(401),
            ),
            ("a service signed it itself", service, Err(401)),
            ("the issuer's older name", json!({"iss": "accounts.google.com"}), Err(401)),
        ])
        .await;
}

/// How a vendor's tokens look, and the page about them.
struct Vendor {
    page: &'static str,
    /// The key as the vendor publishes it, without the key itself.
    key: Value,
    header: Header,
    /// What a good token says, but for its times.
    claims: Value,
}

/// What is different in a token, where null takes a claim away, and who its bearer is or with which status they are refused.
type Case<'a> = (&'a str, Value, Result<&'a str, u16>);

impl Vendor {
    async fn judges(&self, cases: &[Case<'_>]) {
        let issuer = Issuer::start().unwrap();
        issuer.answer_with(KeySetAnswer::Other(self.key_set(&issuer)));
        let gateway = gateway(&self.configuration(&issuer)).env("PORTCULLIS_MASTER_KEY", MASTER_KEY).start().await;
        gateway.client_credential(MASTER_KEY);
        for (what, difference, expected) in cases {
            let token = issuer.mint_with(&self.header, &self.with(difference));
            let status = ask(&gateway, &token).await;
            assert_eq!(status, expected.err().unwrap_or(200), "{}: {what}\n{}", self.page, gateway.output());
            if let Ok(who) = expected {
                gateway.printed(&format!("principal.id=\"{who}\" auth.method=\"jwt\"")).await;
            }
        }
        gateway.stop().await;
    }

    /// The issuer's RSA key in the vendor's clothes, behind one that is not used: these vendors publish several.
    fn key_set(&self, issuer: &Issuer) -> Value {
        let keys: Value = serde_json::from_str(&issuer.key_set()).unwrap();
        let own = keys["keys"].as_array().unwrap().iter().find(|key| key["alg"] == "RS256").unwrap();
        let mut key = self.key.clone();
        key["n"] = own["n"].clone();
        key["e"] = own["e"].clone();
        let mut idle = key.clone();
        idle["kid"] = "an-older-one".into();
        json!({"keys": [idle, key]})
    }

    /// The first configuration of the page, with the address at which the keys are.
    fn configuration(&self, issuer: &Issuer) -> String {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(self.page);
        let page = std::fs::read_to_string(page).unwrap();
        let (_, block) = page.split_once("```yaml\n").unwrap();
        let (block, _) = block.split_once("```").unwrap();
        let (before, rest) = block.split_once("jwks_url: ").unwrap();
        let (_, after) = rest.split_once('\n').unwrap();
        format!("{before}jwks_url: {}\n{after}", issuer.key_set_url())
    }

    /// The claims of a token that is issued now, with a difference.
    fn with(&self, difference: &Value) -> Map<String, Value> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = self.claims.as_object().unwrap().clone();
        claims.extend([("iat".into(), now.into()), ("nbf".into(), now.into()), ("exp".into(), (now + 3600).into())]);
        for (name, value) in difference.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.remove(name)),
                value => drop(claims.insert(name.clone(), value.clone())),
            }
        }
        claims
    }
}

async fn ask(gateway: &Gateway, token: &str) -> u16 {
    gateway.client_credential(token);
    let request = gateway.request(Method::POST, "/v1/chat/completions").bearer_auth(token);
    gateway.send(request.header("content-type", "application/json").body(CHAT)).await.status
}
