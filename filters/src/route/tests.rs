//! Where each call goes at each kind of provider, and which deployment gets it, as tables.

use bytes::Bytes;
use http::{HeaderMap, Method};
use proptest::prelude::*;

use super::*;
use crate::client_side::BaseRule;
use crate::credential::OwnCredential;
use crate::endpoint::{Endpoint, classify};
use crate::head::RequestHead;
use crate::operation::Operation;
use crate::path::CanonicalPath;
use crate::policy::authorize;
use crate::principal::Principal;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;
const CHAT: &str = "/v1/chat/completions";

fn deployment(name: &str, provider: Provider, model: &str, base: &str) -> DeploymentSettings {
    DeploymentSettings {
        name: name.to_owned(),
        provider,
        model: model.to_owned(),
        base: base.parse().unwrap(),
        credential: Some("provider-key".into()),
        api_version: None,
        organization: None,
        weight: 1,
        timeout: None,
        client_side: ClientSideRules::default(),
        own_credential: OwnCredential::Never,
        pricing: Default::default(),
    }
}

/// One deployment of the name `m` by this weight; the base tells them apart.
fn weighted(host: &str, weight: u32) -> DeploymentSettings {
    DeploymentSettings { weight, ..deployment("m", Provider::OpenAi, "x", &format!("http://{host}/v1")) }
}

fn permit(path: &str, query: Option<&str>, model: &str) -> Permit {
    let canonical = CanonicalPath::parse(path).unwrap();
    let bodiless = path.ends_with("/realtime");
    let method = if bodiless { Method::GET } else { Method::POST };
    let headers = HeaderMap::new();
    let head = RequestHead {
        method: &method,
        path: &canonical,
        query,
        headers: &headers,
        source: None,
        client_certificate: None,
    };
    let (content_type, body) = if path.contains("/audio/tr") {
        let part = format!("--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--b--\r\n");
        ("multipart/form-data; boundary=b", part)
    } else {
        ("application/json", if path.contains(':') { "{}".to_owned() } else { format!(r#"{{"model":"{model}"}}"#) })
    };
    allowed(classify(&head).unwrap(), query, content_type, &body)
}

fn allowed(endpoint: Endpoint, query: Option<&str>, content_type: &str, body: &str) -> Permit {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let (operation, _) = Operation::take(endpoint, query, Some(content_type), body).unwrap();
    authorize(Principal::Master, operation, &AccessGroups::default()).unwrap()
}

fn table(deployments: Vec<DeploymentSettings>) -> RouteTable {
    RouteTable::new(deployments, Vec::new(), RoutingSettings::default())
}

/// Path, query and credential slot of the one deployment, or `None` where it does not speak the dialect.
fn target(deployment: DeploymentSettings, path: &str, query: Option<&str>) -> Option<(String, String)> {
    let routes = table(vec![deployment]);
    match routes.resolve(&permit(path, query, "m"), query, &[], NOW, || panic!("one deployment: nothing to draw")) {
        Ok(route) => {
            let (name, value) = route.target.credential.expect("each of these has a credential");
            assert!(value.is_sensitive());
            let scheme = if name == http::header::AUTHORIZATION { "Bearer provider-key" } else { "provider-key" };
            assert_eq!(value, scheme);
            Some((route.target.path_and_query, name.to_string()))
        }
        Err(Denial::UnsupportedDialect(_)) => None,
        Err(other) => panic!("{path}: {other}"),
    }
}

#[test]
fn calls_go_to_the_path_and_slot_of_the_provider() {
    use Provider::{Anthropic, Azure, Compatible, Gemini, OpenAi};
    const BEARER: &str = "authorization";
    let azure = "https://r.openai.azure.com";
    let azure_chat = "/openai/deployments/x/chat/completions?api-version=2025-02-01-preview";
    for (provider, base, path, query, expected) in [
        (OpenAi, "https://o/v1", CHAT, None, Some(("/v1/chat/completions", BEARER))),
        (OpenAi, "https://o/v1/", "/chat/completions", None, Some(("/v1/chat/completions", BEARER))),
        (OpenAi, "https://o", CHAT, None, Some(("/chat/completions", BEARER))),
        (OpenAi, "https://o/a/b/v1", "/v1/embeddings", Some("a=b"), Some(("/a/b/v1/embeddings?a=b", BEARER))),
        (
            OpenAi,
            "https://o/v1",
            CHAT,
            Some("key=k&a=1&api_key=k&API-KEY=k&%6bey=k&access_token=k&b"),
            Some(("/v1/chat/completions?a=1&b", BEARER)),
        ),
        (OpenAi, "https://o/v1", "/v1/audio/transcriptions", None, Some(("/v1/audio/transcriptions", BEARER))),
        (
            OpenAi,
            "https://o/v1",
            "/openai/deployments/m/chat/completions",
            Some("api-version=1"),
            Some(("/v1/chat/completions", BEARER)),
        ),
        (OpenAi, "https://o/v1", "/v1/realtime", Some("model=m&a=b"), Some(("/v1/realtime?a=b&model=x", BEARER))),
        (OpenAi, "https://o/v1", "/v1/messages", None, None),
        (OpenAi, "https://o/v1", "/v1beta/models/m:generateContent", None, None),
        (Compatible, "https://g/openai/v1", CHAT, None, Some(("/openai/v1/chat/completions", BEARER))),
        (Compatible, "https://g/v1", "/v1/messages", None, Some(("/v1/messages", BEARER))),
        (Azure, azure, CHAT, None, Some((azure_chat, "api-key"))),
        (
            Azure,
            azure,
            CHAT,
            Some("api-version=2024-10-21&a=b"),
            Some(("/openai/deployments/x/chat/completions?a=b&api-version=2024-10-21", "api-key")),
        ),
        (
            Azure,
            azure,
            "/openai/deployments/m/embeddings",
            Some("api-version=1"),
            Some(("/openai/deployments/x/embeddings?api-version=1", "api-key")),
        ),
        (Azure, azure, "/v1/responses", Some("api-version=1"), Some(("/openai/responses?api-version=1", "api-key"))),
        (
            Azure,
            azure,
            "/v1/realtime",
            Some("model=m&api-version=1"),
            Some(("/openai/realtime?api-version=1&deployment=x", "api-key")),
        ),
        (Azure, "https://r/openai/v1", CHAT, Some("api-version=1"), Some(("/openai/v1/chat/completions", "api-key"))),
        (
            Azure,
            "https://r/openai/v1",
            "/v1/realtime",
            Some("model=m"),
            Some(("/openai/v1/realtime?model=x", "api-key")),
        ),
        (Azure, azure, "/v1/messages", None, None),
        (Anthropic, "https://a", "/v1/messages", Some("beta=true"), Some(("/v1/messages?beta=true", "x-api-key"))),
        (Anthropic, "https://a/v1", "/v1/messages", None, Some(("/v1/messages", "x-api-key"))),
        (
            Anthropic,
            "https://a/proxy/v1/",
            "/v1/messages/count_tokens",
            None,
            Some(("/proxy/v1/messages/count_tokens", "x-api-key")),
        ),
        (Anthropic, "https://a", CHAT, None, Some(("/v1/chat/completions", BEARER))),
        (Anthropic, "https://a", "/v1/embeddings", None, None),
        (
            Gemini,
            "https://g",
            "/v1beta/models/m:generateContent",
            Some("key=k"),
            Some(("/v1beta/models/x:generateContent", "x-goog-api-key")),
        ),
        (
            Gemini,
            "https://g",
            "/v1/models/m:streamGenerateContent",
            Some("alt=sse"),
            Some(("/v1/models/x:streamGenerateContent?alt=sse", "x-goog-api-key")),
        ),
        (Gemini, "https://g", "/models/m:countTokens", None, Some(("/v1beta/models/x:countTokens", "x-goog-api-key"))),
        (
            Gemini,
            "https://g/v1beta",
            "/v1beta/models/m:generateContent",
            None,
            Some(("/v1beta/models/x:generateContent", "x-goog-api-key")),
        ),
        (
            Gemini,
            "https://g/v1beta",
            "/v1/models/m:generateContent",
            None,
            Some(("/v1/models/x:generateContent", "x-goog-api-key")),
        ),
        (Gemini, "https://g", CHAT, None, Some(("/v1beta/openai/chat/completions", BEARER))),
        (Gemini, "https://g", "/v1/audio/speech", None, None),
    ] {
        let found = target(deployment("m", provider, "x", base), path, query);
        let expected = expected.map(|(target, slot): (&str, &str)| (target.to_owned(), slot.to_owned()));
        assert_eq!(found, expected, "{provider:?} {base} {path} {query:?}");
    }
}

#[test]
fn a_configured_api_version_wins_over_the_callers() {
    let azure = deployment("m", Provider::Azure, "x", "https://r");
    let found = target(DeploymentSettings { api_version: Some("2".to_owned()), ..azure }, CHAT, Some("api-version=1"));
    assert_eq!(found.unwrap().0, "/openai/deployments/x/chat/completions?api-version=2");
}

#[test]
fn pass_through_keeps_the_path_and_has_one_upstream() {
    let vendors = [
        (Vendor::OpenAi, Provider::OpenAi, "https://o/v1"),
        (Vendor::Anthropic, Provider::Anthropic, "https://a"),
        (Vendor::Gemini, Provider::Gemini, "https://g"),
    ];
    let vendors = vendors.map(|(vendor, provider, base)| (vendor, deployment("", provider, "", base)));
    let routes = RouteTable::new(Vec::new(), vendors.into(), RoutingSettings::default());
    for (path, query, expected) in [
        ("/openai/v1/files", Some("a=b&key=k"), Some("/v1/files?a=b")),
        ("/openai/files", None, Some("/v1/files")),
        ("/anthropic/v1/messages/batches", None, Some("/v1/messages/batches")),
        ("/gemini/v1beta/cachedContents", Some("key=k"), Some("/v1beta/cachedContents")),
        ("/azure/openai/files", None, None),
    ] {
        let permit = permit(path, query, "m");
        let route = routes.resolve(&permit, query, &[], NOW, || 0);
        let Some(expected) = expected else {
            assert_eq!(route.err(), Some(Denial::UnknownRoute), "{path}");
            continue;
        };
        let route = route.unwrap();
        assert_eq!((route.target.path_and_query.as_str(), &*route.model), (expected, ""), "{path}");
        assert!(routes.resolve(&permit, query, &[route.upstream], NOW, || 0).is_err(), "{path} has no second upstream");
    }
}

#[test]
fn names_find_their_group_by_alias_name_and_longest_pattern() {
    let mut routes = table(vec![
        deployment("gpt-4o", Provider::OpenAi, "gpt-4o-2024", "https://exact/v1"),
        deployment("openai/*", Provider::OpenAi, "*", "https://wide/v1"),
        deployment("openai/gpt-*", Provider::OpenAi, "gpt-*", "https://narrow/v1"),
        deployment("vendor/*", Provider::Compatible, "hosted/*-latest", "https://affixed/v1"),
        deployment("fixed/*", Provider::OpenAi, "one", "https://fixed/v1"),
    ]);
    routes.settings.aliases =
        HashMap::from([("best".to_owned(), "gpt-4o".to_owned()), ("o".to_owned(), "openai/o3".to_owned())]);
    for (asked, expected) in [
        ("gpt-4o", Some(("exact", "gpt-4o-2024"))),
        ("best", Some(("exact", "gpt-4o-2024"))),
        ("openai/gpt-5", Some(("narrow", "gpt-5"))),
        ("openai/o3", Some(("wide", "o3"))),
        ("o", Some(("wide", "o3"))),
        ("vendor/llama", Some(("affixed", "hosted/llama-latest"))),
        ("fixed/whatever", Some(("fixed", "one"))),
        ("openai", None),
        ("gpt-4", None),
        ("GPT-4o", None),
    ] {
        let route = routes.resolve(&permit(CHAT, None, asked), None, &[], NOW, || 0);
        let found = route.as_ref().map(|route| (route.upstream.settings().base.host_str().unwrap(), &*route.model));
        assert_eq!(found.ok(), expected, "{asked}");
        assert!(expected.is_some() || route.err() == Some(Denial::UnknownModel(Some(asked.to_owned()))), "{asked}");
    }
}

fn host_of(routes: &RouteTable, tried: &[Arc<Upstream>], now: SystemTime, random: u64) -> Option<String> {
    let route = routes.resolve(&permit(CHAT, None, "m"), None, tried, now, || random).ok()?;
    Some(route.upstream.settings().base.host_str().unwrap().to_owned())
}

#[test]
fn weights_share_the_draws_exactly() {
    let routes = table(vec![weighted("a", 3), weighted("b", 1), weighted("spare", 0)]);
    let drawn: Vec<_> = (0..8).filter_map(|random| host_of(&routes, &[], NOW, random)).collect();
    assert_eq!(drawn, ["a", "a", "a", "b", "a", "a", "a", "b"]);
}

#[test]
fn deployments_of_another_dialect_are_passed_over() {
    let routes = table(vec![deployment("m", Provider::Anthropic, "x", "http://o"), weighted("a", 1), weighted("b", 1)]);
    let asked = &permit("/v1/embeddings", None, "m");
    let drawn = |draw| routes.resolve(asked, None, &[], NOW, || draw).unwrap().upstream.name().to_owned();
    assert_eq!((0..4).map(drawn).collect::<Vec<_>>(), ["a/x", "a/x", "b/x", "b/x"]);
}

#[test]
fn a_weight_of_zero_only_stands_in() {
    let routes = table(vec![weighted("spare", 0), weighted("a", 1)]);
    let mut tried = Vec::new();
    for expected in [Some("a"), Some("spare"), None] {
        let route = routes.resolve(&permit(CHAT, None, "m"), None, &tried, NOW, || 7).ok();
        assert_eq!(route.as_ref().and_then(|route| route.upstream.settings().base.host_str()), expected);
        tried.extend(route.map(|route| route.upstream));
    }
}

#[test]
fn the_built_in_model_stands_in_for_nobody() {
    let mock = DeploymentSettings { weight: 0, ..deployment("m", Provider::Mock, "mock", "mock://built-in") };
    let routes = table(vec![weighted("a", 1), mock]);
    let first = routes.resolve(&permit(CHAT, None, "m"), None, &[], NOW, || 0).unwrap().upstream;
    assert_eq!(first.settings().base.host_str(), Some("a"));
    assert!(routes.resolve(&permit(CHAT, None, "m"), None, &[first], NOW, || 0).is_err());
}

#[test]
fn a_deployment_rests_after_too_many_failures_in_a_row() {
    let settings = RoutingSettings { allowed_fails: 1, cooldown: Duration::from_secs(5), ..RoutingSettings::default() };
    let routes = RouteTable::new(vec![weighted("a", 1), weighted("b", 1)], Vec::new(), settings);
    let a = routes.resolve(&permit(CHAT, None, "m"), None, &[], NOW, || 0).unwrap().upstream;
    let hosts = |now| (0..2).filter_map(|random| host_of(&routes, &[], now, random)).collect::<Vec<_>>();

    routes.failed(&a, NOW);
    a.succeeded();
    routes.failed(&a, NOW);
    assert_eq!(hosts(NOW), ["a", "b"], "one failure in a row is allowed");
    routes.failed(&a, NOW);
    assert_eq!(hosts(NOW), ["b", "b"]);
    assert_eq!(routes.deployments(NOW).filter(|(_, used)| *used).count(), 1);
    assert_eq!(hosts(NOW + Duration::from_secs(5)), ["a", "b"], "it has rested");
}

#[test]
fn when_all_rest_the_one_that_rested_longest_is_tried() {
    let settings = RoutingSettings { allowed_fails: 0, ..RoutingSettings::default() };
    let routes = RouteTable::new(vec![weighted("a", 1), weighted("b", 1)], Vec::new(), settings);
    let upstream = |random| routes.resolve(&permit(CHAT, None, "m"), None, &[], NOW, || random).unwrap().upstream;
    let (a, b) = (upstream(0), upstream(1));
    routes.failed(&b, NOW);
    routes.failed(&a, NOW + Duration::from_secs(1));
    assert_eq!(host_of(&routes, &[], NOW + Duration::from_secs(2), 0).as_deref(), Some("b"));
}

#[test]
fn listings_show_what_the_permit_opens() {
    let routes = table(vec![
        deployment("b", Provider::OpenAi, "x", "https://o/v1"),
        deployment("a", Provider::OpenAi, "x", "https://o/v1"),
        deployment("b", Provider::OpenAi, "y", "https://o/v1"),
    ]);
    assert_eq!(routes.visible_models(&permit(CHAT, None, "a"), &AccessGroups::default()), ["b", "a"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every deployment is tried once, whatever the weights, the draw and who is resting.
    #[test]
    fn a_group_is_exhausted_and_never_repeated(
        weights in prop::collection::vec(0u32..1000, 1..6), random in any::<u64>(), resting in any::<u8>(),
    ) {
        let settings = RoutingSettings { allowed_fails: 0, ..RoutingSettings::default() };
        let group: Vec<_> = weights.iter().enumerate().map(|(at, weight)| weighted(&format!("h{at}"), *weight)).collect();
        let routes = RouteTable::new(group, Vec::new(), settings);
        for (at, upstream) in routes.exact["m"].iter().enumerate() {
            if resting >> at & 1 == 1 {
                routes.failed(upstream, NOW);
            }
        }
        let mut tried: Vec<Arc<Upstream>> = Vec::new();
        while let Ok(route) = routes.resolve(&permit(CHAT, None, "m"), None, &tried, NOW, || random) {
            prop_assert!(!tried.iter().any(|other| Arc::ptr_eq(other, &route.upstream)));
            tried.push(route.upstream);
        }
        prop_assert_eq!(tried.len(), weights.len());
    }
}

/// A permit for the model `m` whose body brings these members.
fn bringing(path: &str, members: &str) -> Permit {
    let endpoint = permit(path, None, "m").operation().endpoint.clone();
    allowed(endpoint, None, "application/json", &format!(r#"{{"model":"m",{members}}}"#))
}

const ANY: ClientSideRules = ClientSideRules { api_key: true, api_base: BaseRule::Any, base_url: BaseRule::Never };

#[test]
fn nothing_of_the_operators_account_goes_with_a_callers_key() {
    let settings = DeploymentSettings {
        organization: Some("org-operator".to_owned()),
        client_side: ANY,
        ..deployment("m", Provider::OpenAi, "x", "https://operator.example/v1")
    };
    let table = table(vec![settings]);
    for (members, host, chosen_by, organization) in [
        (r#""api_key":"own""#, "operator.example", ChosenBy::Operator, None),
        (r#""api_key":"own","organization":"o""#, "operator.example", ChosenBy::Operator, Some("o")),
        (r#""api_key":"own","api_base":"https://a.example""#, "a.example", ChosenBy::Client, None),
    ] {
        let route = table.resolve(&bringing(CHAT, members), None, &[], NOW, || 0).unwrap();
        let settings = route.upstream.settings();
        assert_eq!(settings.base.host_str(), Some(host), "{members}");
        assert_eq!((route.chosen_by, route.private, route.pinned), (chosen_by, true, None), "{members}");
        assert_eq!(settings.organization.as_deref(), organization, "{members}");
        assert_eq!(route.target.credential.unwrap().1, "Bearer own", "{members}");
        assert_ne!(route.upstream.pool_group(), table.exact["m"][0].pool_group(), "{members}");
    }
}

#[test]
fn what_no_deployment_takes_is_refused_and_those_that_take_it_serve() {
    let closed = deployment("m", Provider::OpenAi, "x", "https://closed.example/v1");
    let open =
        DeploymentSettings { client_side: ANY, ..deployment("m", Provider::OpenAi, "x", "https://open.example/v1") };
    let both = table(vec![closed.clone(), open]);
    for random in 0..2 {
        let route = both.resolve(&bringing(CHAT, r#""api_key":"own""#), None, &[], NOW, || random).unwrap();
        assert_eq!(route.upstream.settings().base.host_str(), Some("open.example"));
    }
    let vendor = RouteTable::new(Vec::new(), vec![(Vendor::OpenAi, closed.clone())], RoutingSettings::default());
    for (table, path, members, field) in [
        (&table(vec![closed]), CHAT, r#""api_key":"own""#, "api_key"),
        (&both, CHAT, r#""api_key":"own","base_url":"https://a.example""#, "base_url"),
        (&both, CHAT, r#""user_config":{"model_list":[]}"#, "user_config"),
        (&vendor, "/openai/v1/chat/completions", r#""api_key":"own""#, "api_key"),
    ] {
        let refused = table.resolve(&bringing(path, members), None, &[], NOW, || 0).err();
        assert_eq!(refused, Some(Denial::ForbiddenField(field.to_owned())), "{members}");
    }
}

/// Names that answer with other addresses each time they are asked change nothing: what was judged is what is dialled.
#[tokio::test]
async fn a_host_that_a_client_chose_is_looked_up_once_judged_and_pinned() {
    let open = DeploymentSettings { client_side: ANY, ..deployment("m", Provider::OpenAi, "x", "http://127.0.0.1/v1") };
    let table = table(vec![open]);
    for (members, found, outcome) in [
        (r#""api_key":"own""#, None, Ok(None)),
        (r#""api_key":"own","api_base":"https://a.example""#, Some("1.1.1.1:443"), Ok(Some("1.1.1.1:443"))),
        (r#""api_key":"own","api_base":"https://a.example:8443""#, Some("1.1.1.1:8443"), Ok(Some("1.1.1.1:8443"))),
        (r#""api_key":"own","api_base":"https://a.example""#, Some("127.0.0.1:443"), Err(())),
        (r#""api_key":"own","api_base":"https://a.example""#, Some("[::ffff:10.0.0.1]:443"), Err(())),
        (r#""api_key":"own","api_base":"http://a.example""#, Some("1.1.1.1:80"), Err(())),
        (r#""api_key":"own","api_base":"https://a.example""#, None, Err(())),
    ] {
        let mut route = table.resolve(&bringing(CHAT, members), None, &[], NOW, || 0).unwrap();
        let asked = std::cell::Cell::new(0);
        let pinned = route
            .pin(&Outbound::default(), |_| {
                asked.set(asked.get() + 1);
                let found = found.map(|address: &str| Arc::from([address.parse().unwrap()]));
                std::future::ready(found.ok_or(Denial::ForbiddenDestination("no such name")))
            })
            .await;
        let pinned = pinned.map(|()| route.pinned.map(|address| address.to_string())).map_err(|denial| {
            assert_eq!((denial.reason(), route.pinned), ("forbidden_destination", None), "{members}");
        });
        assert_eq!(pinned, outcome.map(|address| address.map(str::to_owned)), "{members} {found:?}");
        assert_eq!(asked.get(), u32::from(members.contains("api_base")), "{members}");
    }
}

#[test]
fn a_table_that_a_client_brings_is_guarded_as_a_whole() {
    let table = RouteTable::of_client(vec![deployment("m", Provider::OpenAi, "x", "http://127.0.0.1/v1")]);
    let permit = bringing(CHAT, r#""user_config":{"model_list":[]}"#);
    let route = table.resolve(&permit, None, &[], NOW, || 0).unwrap();
    assert_eq!((route.chosen_by, route.private), (ChosenBy::Client, true));
}
