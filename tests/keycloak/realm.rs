//! A realm of the running Keycloak: its token endpoint, and what an administrator does to it through the admin REST API.

use http::Method;
use portcullis_bench::keycloak::{Keycloak, REALM};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

/// The secret of the client `litellm`, as in the article.
const CLIENT: [(&str, &str); 2] = [("client_id", "litellm"), ("client_secret", "0CtlgEvGHU3XNjDAmwHPn5p8wT78JGEp")];
const USER: [(&str, &str); 2] = [("username", "zhangsan"), ("password", "12345678")];

/// A realm of this server.
pub(crate) struct Realm {
    server: String,
    name: &'static str,
    http: reqwest::Client,
}

/// What a sign-in gives.
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Realm {
    /// The realm that every [`Keycloak`] begins with.
    pub(crate) fn first(keycloak: &Keycloak) -> Self {
        let http = portcullis_bench::client::http().build().unwrap();
        Self { server: keycloak.url().to_owned(), name: "litellm", http }
    }

    /// A new realm that differs in its name and its keys alone: the same user, the same client, the same secret.
    pub(crate) async fn twin(&self, name: &'static str) -> Self {
        let mut copy: Value =
            serde_json::from_str(&REALM.replace("default-roles-litellm", &format!("default-roles-{name}"))).unwrap();
        copy["realm"] = name.into();
        let twin = Self { server: self.server.clone(), name, http: self.http.clone() };
        self.administer(Method::POST, "/admin/realms", Some(&copy)).await;
        twin
    }

    /// The name of the issuer (`iss`).
    pub(crate) fn issuer(&self) -> String {
        format!("{}/realms/{}", self.server, self.name)
    }

    /// Where its key set is.
    pub(crate) fn key_set_url(&self) -> String {
        format!("{}/protocol/openid-connect/certs", self.issuer())
    }

    /// Signs zhangsan in with the client `litellm`, in a session of its own.
    pub(crate) async fn sign_in(&self) -> Tokens {
        self.tokens(&[&CLIENT[..], &USER, &[("grant_type", "password")]].concat()).await
    }

    /// Signs zhangsan in with a client for which no audience is set up.
    pub(crate) async fn sign_in_elsewhere(&self) -> Tokens {
        self.tokens(&[&USER[..], &[("client_id", "admin-cli"), ("grant_type", "password")]].concat()).await
    }

    /// Ends the session of this refresh token, as an application does when its user signs out.
    pub(crate) async fn sign_out(&self, refresh: &str) {
        let form = [&CLIENT[..], &[("refresh_token", refresh)]].concat();
        succeeded(self.form("logout", &form)).await;
    }

    /// Ends every session of zhangsan, as an administrator does.
    pub(crate) async fn sign_out_everywhere(&self) {
        let users = self.at(Method::GET, "/users?exact=true&username=zhangsan", None).await;
        let path = format!("/users/{}/logout", users[0]["id"].as_str().unwrap());
        self.at(Method::POST, &path, None).await;
    }

    /// How long access tokens live that are issued from now on.
    pub(crate) async fn set_token_lifespan(&self, seconds: u32) {
        self.at(Method::PUT, "", Some(&json!({"accessTokenLifespan": seconds}))).await;
    }

    /// Where the client `litellm` wants to be told of logouts, and whether of the session or of the user.
    pub(crate) async fn set_logout_url(&self, url: &str, of_session: bool) {
        let clients = self.at(Method::GET, "/clients?clientId=litellm", None).await;
        let mut client = clients[0].clone();
        client["attributes"]["backchannel.logout.url"] = url.into();
        client["attributes"]["backchannel.logout.session.required"] = of_session.to_string().into();
        let path = format!("/clients/{}", client["id"].as_str().unwrap());
        self.at(Method::PUT, &path, Some(&client)).await;
    }

    /// The keys that sign tokens, by id.
    pub(crate) async fn signing_keys(&self) -> Vec<String> {
        let keys = self.at(Method::GET, "/components?type=org.keycloak.keys.KeyProvider", None).await;
        let signing = keys.as_array().unwrap().iter().filter(|key| key["providerId"] == "rsa-generated");
        signing.map(|key| key["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Adds a key that signs from now on; those before it still verify.
    pub(crate) async fn add_signing_key(&self) {
        let key = json!({
            "name": "rotated", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider",
            "config": {"priority": ["200"], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"]},
        });
        self.at(Method::POST, "/components", Some(&key)).await;
    }

    /// Takes a key out of the realm.
    pub(crate) async fn remove_key(&self, id: &str) {
        self.at(Method::DELETE, &format!("/components/{id}"), None).await;
    }

    async fn tokens(&self, form: &[(&str, &str)]) -> Tokens {
        let answer: Value = succeeded(self.form("token", form)).await.json().await.unwrap();
        let part = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("no {name} in {answer}")).to_owned();
        Tokens { access: part("access_token"), refresh: part("refresh_token") }
    }

    fn form(&self, endpoint: &str, form: &[(&str, &str)]) -> RequestBuilder {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let url = format!("{}/protocol/openid-connect/{endpoint}", self.issuer());
        self.http.post(url).header("content-type", "application/x-www-form-urlencoded").body(body)
    }

    async fn at(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        self.administer(method, &format!("/admin/realms/{}{path}", self.name), body).await
    }

    /// One call of the admin REST API; `Null` where it answers nothing.
    async fn administer(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let master = Self { server: self.server.clone(), name: "master", http: self.http.clone() };
        let administrator =
            [("client_id", "admin-cli"), ("grant_type", "password"), ("username", "admin"), ("password", "admin")];
        let token = master.tokens(&administrator).await.access; // lives for a minute only
        let mut request = self.http.request(method, format!("{}{path}", self.server)).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = succeeded(request).await.text().await.unwrap();
        serde_json::from_str(&answer).unwrap_or_default()
    }
}

async fn succeeded(request: RequestBuilder) -> Response {
    let response = portcullis_bench::within("an answer of Keycloak", request.send()).await.unwrap();
    let (status, url) = (response.status(), response.url().clone());
    if status.is_success() {
        return response;
    }
    panic!("{url}: {status} {}", response.text().await.unwrap_or_default())
}
