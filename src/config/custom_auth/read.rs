//! Reads `general_settings.custom_auth*` and `portcullis.custom_auth`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderName;
use portcullis_filters::authn::custom::{CustomSettings, Facet, Keep, Mode};
use portcullis_filters::secret::Secret;
use url::Url;

use super::{CustomAuthBy, CustomAuthSettings, HookAddress, HookForm, HookSettings, PythonSettings};
use crate::config::field::Field;
use crate::config::known::Known;
use crate::config::models;
use crate::config::reader::{Reader, Section, is_off};

const MIB: u64 = 1 << 20;

/// `None`: no code of the operator's is asked.
pub(in crate::config) fn read<'r>(
    reader: &'r Reader<'r>,
    general: &Section<'r>,
    litellm: &Section<'r>,
    own: &Section<'r>,
    directory: &Path,
) -> Option<CustomAuthSettings> {
    let function = general.field("custom_auth").filter(|field| !is_off(field.node));
    let section = own.section("custom_auth", &Known::NOTHING_ELSE);
    let hook = section.field("hook");
    let switch = mode(general, &section);
    let common_checks = general.flag("custom_auth_run_common_checks", false);
    if litellm.field("enable_post_custom_auth_checks").is_some_and(|field| is_off(field.node)) {
        reader.notice(
            "litellm_settings.enable_post_custom_auth_checks: limits that an identity carries are always in force",
        );
    }
    let keys_first = section.flag("keys_first", false);
    let max_kept = section.whole("max_kept", 0..=10_000_000, 10_000);
    // Both are read before anything is given up, so that every mistake is reported.
    let python = function.as_ref().map(|field| python(reader, &section, field, directory));
    let hook = hook.map(|field| read_hook(reader, &field));
    let by = match (python, hook) {
        (None, None) => {
            if own.field("custom_auth").is_some() {
                own.mistake(
                    "custom_auth",
                    "asks nobody: name a function in general_settings.custom_auth, or a hook here",
                );
            }
            return None;
        }
        (Some(_), Some(_)) => {
            section.mistake("hook", "general_settings.custom_auth is there too: only one of them can decide");
            return None;
        }
        (Some(python), None) => CustomAuthBy::Python(python?),
        (None, Some(hook)) => CustomAuthBy::Hook(hook?),
    };
    let Some(mode) = switch else {
        reader.notice("custom authentication is not asked: custom_auth_settings.mode is off");
        return None;
    };
    if keys_first && mode == Mode::On {
        section.mistake(
            "keys_first",
            "has no meaning here: with mode `on` no key counts; set custom_auth_settings.mode: auto",
        );
    }
    if mode == Mode::On {
        reader.notice(
            "custom authentication replaces all other methods: neither the master key nor virtual keys nor tokens count, \
             for management neither; custom_auth_settings.mode: auto asks them too",
        );
    }
    Some(CustomAuthSettings { chain: CustomSettings { mode, keys_first, common_checks, max_kept }, by })
}

/// `None`: off.
fn mode(general: &Section<'_>, section: &Section<'_>) -> Option<Mode> {
    let settings = general.section("custom_auth_settings", &Known::NOTHING_ELSE);
    let theirs = settings.field("mode").and_then(|field| word(&field));
    let ours = section.field("mode").and_then(|field| word(&field));
    match (theirs, ours) {
        (Some(theirs), Some(ours)) if theirs != ours => {
            section.mistake("mode", "general_settings.custom_auth_settings.mode says something else");
            Some(Mode::On)
        }
        (Some(mode), _) | (None, Some(mode)) => mode,
        (None, None) => Some(Mode::On),
    }
}

/// YAML takes a bare `on` for a truth value.
fn word(field: &Field<'_>) -> Option<Option<Mode>> {
    match field.truth() {
        Some(true) => Some(Some(Mode::On)),
        Some(false) => Some(None),
        None => field.choice(&[("on", Some(Mode::On)), ("off", None), ("auto", Some(Mode::Auto))]),
    }
}

fn python<'r>(
    reader: &'r Reader<'r>,
    section: &Section<'r>,
    function: &Field<'r>,
    directory: &Path,
) -> Option<PythonSettings> {
    let name = function.some_parsed(function_name);
    if let Some(name) = &name
        && !is_beside(name, directory)
    {
        reader.notice(format!(
            "general_settings.custom_auth: {} is not beside the configuration, so it must be a package that Python finds",
            name.split('.').next().unwrap_or_default()
        ));
    }
    let timeout = timeout(section, Duration::from_secs(5));
    let variables = section.field("environment").map(|field| field.items()).unwrap_or_default();
    let settings = PythonSettings {
        handler: String::new(),
        directory: if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory.to_owned() },
        python: section.text("python").unwrap_or_else(|| "python3".to_owned()).into(),
        workers: section.whole("workers", 1..=64, 2) as usize,
        concurrency: section.whole("concurrency", 1..=1024, 32) as usize,
        queue: section.whole("queue", 0..=100_000, 256) as usize,
        timeout,
        memory: section.size("memory", 64 * MIB..=1 << 40, 1024 * MIB),
        environment: variables.iter().filter_map(|field| variable(reader, field)).collect(),
        body: section.flag("body", false),
        keep: keep(section),
    };
    Some(PythonSettings { handler: name?, ..settings })
}

/// `module.function`, with packages before it.
fn function_name(text: &str) -> Result<String, &'static str> {
    if text.contains("://") {
        return Err("names a file elsewhere: put it beside the configuration and name it as module.function");
    }
    let identifier = |part: &str| {
        part.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    let fits = text.contains('.') && text.split('.').all(identifier);
    if fits { Ok(text.to_owned()) } else { Err("expected module.function, such as custom_auth.user_api_key_auth") }
}

fn is_beside(name: &str, directory: &Path) -> bool {
    let first = name.split('.').next().unwrap_or_default();
    directory.join(format!("{first}.py")).is_file() || directory.join(first).is_dir()
}

/// A variable that the function gets. The name of a secret is a decision of the operator's, made here and nowhere else.
fn variable(reader: &Reader<'_>, field: &Field<'_>) -> Option<(String, Secret)> {
    let name = field.some_text()?;
    if name.contains(['=', '\0']) {
        field.mistake("expected the name of a variable");
        return None;
    }
    let value = reader.environment.variable(&name);
    if value.is_none() {
        reader.warn(format!(
            "{}: the variable {} is not set; the function will miss it",
            field.path,
            name.escape_default()
        ));
    }
    Some((name, value?.into()))
}

/// What a function looks at beside the credential is known to its author only, so it has to be said.
fn keep(section: &Section<'_>) -> Option<Keep> {
    let ttl = section.time("cache_ttl", 0..=300, Duration::ZERO);
    let facets = section.field("depends_on");
    if ttl.is_zero() {
        return None;
    }
    let Some(facets) = facets else {
        section.mistake(
            "depends_on",
            "is missing: list what the function looks at beside the credential (method, path, query, source, header:NAME), or []",
        );
        return None;
    };
    let facet = |field: &Field<'_>| {
        field.some_parsed(|text| Facet::named(text).ok_or("expected method, path, query, source or header:NAME"))
    };
    Some(Keep { ttl, facets: facets.items().iter().filter_map(facet).collect() })
}

fn timeout(section: &Section<'_>, default: Duration) -> Duration {
    let timeout = section.time("timeout", 0..=60, default);
    if timeout < Duration::from_millis(100) {
        section.mistake("timeout", "is shorter than 100 ms");
    }
    timeout
}

fn read_hook<'r>(reader: &'r Reader<'r>, field: &Field<'r>) -> Option<HookSettings> {
    let section = field.section(&Known::NOTHING_ELSE);
    let url = section.required("url");
    let address = url.as_ref().and_then(|field| field.some_parsed(address));
    if let (Some(field), Some(HookAddress::Url(url))) = (&url, &address)
        && models::is_plain_and_public(url)
    {
        reader.warn(format!("{}: plain http to a public host; every credential can be read on the way", field.path));
    }
    let forms = [("json", HookForm::Json), ("ext_authz", HookForm::ExtAuthz), ("forward_auth", HookForm::ForwardAuth)];
    let form = section.field("form").and_then(|field| field.choice(&forms)).unwrap_or(HookForm::Json);
    let headers = section.field("headers").map(|field| field.entries()).unwrap_or_default();
    let body = section.flag("body", false);
    if body && form != HookForm::Json {
        section.mistake("body", "goes along in the form `json` only");
    }
    let settings = HookSettings {
        address: HookAddress::Unix(PathBuf::new()),
        form,
        timeout: timeout(&section, Duration::from_secs(2)),
        headers: headers.iter().filter_map(header).collect(),
        max_questions: section.whole("max_questions", 1..=100_000, 256) as usize,
        body,
    };
    Some(HookSettings { address: address?, ..settings })
}

fn header((name, field): &(&str, Field<'_>)) -> Option<(HeaderName, Secret)> {
    let Ok(parsed) = name.parse::<HeaderName>() else {
        field.mistake("is under what is not a header name");
        return None;
    };
    let value = field.secret()?;
    if http::HeaderValue::try_from(value.expose()).is_err() {
        field.mistake("holds a character that no header can carry");
        return None;
    }
    Some((parsed, value))
}

fn address(text: &str) -> Result<HookAddress, &'static str> {
    if let Some(path) = text.strip_prefix("unix:") {
        return if path.starts_with('/') { Ok(HookAddress::Unix(path.into())) } else { Err("expected unix:/path") };
    }
    let url =
        Url::parse(text).map_err(|_| "expected an address such as https://auth.example.com/decide, or unix:/path")?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("expected an address that begins with https://, http:// or unix:/");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or a password: give a credential under headers");
    }
    if url.fragment().is_some() { Err("holds a fragment, which is never sent") } else { Ok(HookAddress::Url(url)) }
}
