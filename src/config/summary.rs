//! What will be in force, as lines for a person. Secrets appear only as being there.

use std::time::Duration;

use portcullis_filters::authn::custom::Mode;
use portcullis_filters::authn::jwt::algorithm::Algorithm;
use portcullis_filters::client_side::{BaseRule, ClientSideRules};
use portcullis_filters::path::OpenPaths;
use portcullis_filters::source::OpenSources;
use url::{Position, Url};

use super::{
    CustomAuthBy, CustomAuthSettings, HookAddress, IssuerSettings, JwtSettings, KeySettings, ModelSettings, OpaqueKind,
    OpaqueSettings, Settings,
};

impl Settings {
    /// One line a setting, in the order in which a request meets them.
    #[must_use]
    pub fn summary(&self) -> Vec<String> {
        let Self { listen, store, cache, jwt, slots, client_side, routing, http, telemetry, keys, open_paths, .. } =
            self;
        let admin = listen.admin.as_ref().map_or("off".to_owned(), ToString::to_string);
        let mut lines = vec![
            format!("data listener: {}{}", listen.data, if listen.tls.is_some() { ", TLS" } else { ", plain HTTP" }),
            format!("admin listener: {admin}"),
            format!("management on the data listener: {}", yes(listen.admin_on_data)),
            format!("worker threads: {}", listen.threads),
            match self.master_keys.len() {
                0 => "master key: none configured; one is made at the first start".to_owned(),
                1 => "master key: configured".to_owned(),
                several => format!("master keys: {several} configured"),
            },
            format!("store: {}", super::store::shown(&store.url)),
            format!(
                "key cache: {} keys for {}; unknown keys for {}; {} without the store",
                cache.max_keys,
                seconds(cache.ttl),
                seconds(cache.unknown_ttl),
                seconds(cache.max_stale)
            ),
        ];
        lines.extend(self.custom_auth.iter().map(custom_auth_line));
        lines.extend(jwt.iter().flat_map(jwt_lines));
        if open_paths != &OpenPaths::default() {
            lines.push("routes: only those of general_settings.allowed_routes".to_owned());
        }
        if self.open_sources != OpenSources::default() {
            lines.push("addresses: only those of general_settings.allowed_ips".to_owned());
        }
        lines.push(match &self.redis {
            Some(redis) => {
                format!("limits: counted for all nodes in Redis, asked for at most {} ms", redis.patience.as_millis())
            }
            None => "limits: shared among the nodes of this store".to_owned(),
        });
        if let Some(notices) = &self.notices {
            lines.push(format!("notices: of keys that end within {}", seconds(notices.before)));
        }
        if let Some(header) = &slots.key_header {
            lines.push(format!("first key header: {header}"));
        }
        if !slots.additional_headers.is_empty() {
            let names: Vec<_> = slots.additional_headers.iter().map(::http::HeaderName::as_str).collect();
            lines.push(format!("further key headers: {}", names.join(", ")));
        }
        lines.push(format!(
            "requests: head {} bytes in {}, body {} bytes, {} connections",
            http.max_head_bytes,
            seconds(http.head_timeout),
            http.max_body_bytes,
            http.max_connections
        ));
        lines.extend(self.models.iter().map(model_line));
        if !client_side.outbound.allow.is_empty() {
            lines.push(format!("addresses of callers: public, and {} exceptions", client_side.outbound.allow.len()));
        }
        if client_side.user_config {
            lines.push("callers may bring deployments of their own".to_owned());
        }
        for prefix in &self.pass_through {
            lines.push(format!("pass-through /{}: {}, key set", prefix.provider.name, prefix.api_base));
        }
        for (name, alias) in &routing.aliases {
            lines.push(format!("alias {name}: {}", alias.model));
        }
        lines.push(format!(
            "routing: {} retries, {} failures then {} of rest, {} for an answer",
            routing.num_retries,
            routing.allowed_fails,
            seconds(routing.cooldown),
            seconds(routing.timeout)
        ));
        lines.push(format!(
            "keys: {} random bytes, own strings {}, {} of grace when rotated",
            keys.generated_bytes,
            if keys.allow_custom_keys { "allowed" } else { "refused" },
            seconds(keys.rotation_grace)
        ));
        lines.push(format!(
            "log: {:?}, {}; metrics need a key: {}",
            telemetry.log_format,
            telemetry.log_level,
            yes(telemetry.metrics_need_key)
        ));
        lines
    }
}

fn custom_auth_line(custom: &CustomAuthSettings) -> String {
    let mode = match custom.chain.mode {
        Mode::On => "instead of all other methods",
        Mode::Auto if custom.chain.keys_first => "after keys, before the other methods",
        Mode::Auto => "before the other methods",
    };
    match &custom.by {
        CustomAuthBy::Python(python) => format!(
            "custom authentication: {} in {} processes of {}, {mode}, {} for an answer",
            python.handler,
            python.workers,
            python.python.display(),
            seconds(python.timeout)
        ),
        CustomAuthBy::Hook(hook) => {
            let address = match &hook.address {
                HookAddress::Url(url) => url[..Position::AfterPath].to_owned(),
                HookAddress::Unix(path) => format!("unix:{}", path.display()),
            };
            format!("custom authentication: {address}, {mode}, {} for an answer", seconds(hook.timeout))
        }
    }
}

fn jwt_lines(jwt: &JwtSettings) -> Vec<String> {
    let mut lines: Vec<_> = jwt.issuers.iter().map(issuer_line).collect();
    lines.extend(jwt.opaque.iter().map(opaque_line));
    let proofs = match jwt.proof.public_urls.len() {
        0 => "no DPoP proof is taken without public_urls".to_owned(),
        _ => format!("DPoP proofs up to {} old", seconds(jwt.proof.max_age)),
    };
    lines.push(format!(
        "tokens: {} remembered for {}; deny list {}; {proofs}",
        jwt.cache.max_tokens,
        seconds(jwt.cache.ttl),
        if jwt.deny_list_required { "required" } else { "best effort" }
    ));
    lines
}

fn issuer_line(issuer: &IssuerSettings) -> String {
    let name = issuer.name.as_deref().unwrap_or("of any name");
    let keys = match &issuer.keys {
        KeySettings::Fetched(set) => set.urls.iter().map(address).collect::<Vec<_>>().join(" and "),
        KeySettings::Fixed(_) => "the configuration".to_owned(),
    };
    let algorithms = if issuer.algorithms == Algorithm::ASYMMETRIC {
        "every algorithm with a public key".to_owned()
    } else {
        issuer.algorithms.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>().join(", ")
    };
    format!("issuer {name}: {}, keys from {keys}, {algorithms}", audience(&issuer.audiences))
}

fn opaque_line(server: &OpaqueSettings) -> String {
    let kind = match &server.kind {
        OpaqueKind::Introspection { .. } => "introspection, client secret set",
        OpaqueKind::Userinfo => "userinfo",
    };
    let (address, audience) = (address(&server.url), audience(&server.audiences));
    format!("opaque tokens: {kind}, at {address}, {audience}, remembered for {}", seconds(server.cache_ttl))
}

fn audience(audiences: &[String]) -> String {
    if audiences.is_empty() { "any audience".to_owned() } else { format!("audience {}", audiences.join(", ")) }
}

/// Without the query, in which somebody may have put a key.
fn address(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.into()
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

fn model_line(model: &ModelSettings) -> String {
    let at = model.api_base.as_ref().map(|base| format!(" at {base}")).unwrap_or_default();
    let key = match (&model.api_key, &model.api_base) {
        (Some(_), _) => ", key set",
        (None, Some(_)) => ", no key",
        (None, None) => "",
    };
    let ClientSideRules { api_key, api_base, base_url } = &model.client_side;
    let own = match (api_key, (api_base, base_url)) {
        (true, (BaseRule::Never, BaseRule::Never)) => ", or a caller's key",
        (true, _) => ", or a caller's key and address",
        (false, _) => "",
    };
    format!("model {}: {}/{}{at}{key}{own}", model.name, model.provider.name, model.model)
}

fn yes(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}
