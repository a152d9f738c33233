//! Client-side credentials: what a caller brings in the body of a request, and what a deployment takes of it.
//!
//! LiteLLM's names and meaning (contract 06), with its holes closed: an address without a key of the caller's own is
//! refused, so that no key of the operator's goes where a client chose; an address is compared as a URL and as a whole;
//! what no deployment takes is an error and is never forwarded.

use std::borrow::Cow;

use regex::Regex;
use url::{Host, Url};

use crate::denial::Denial;
use crate::secret::Secret;

/// Members of a body by which a caller brings a credential, an address, or a whole list of deployments.
pub const CLIENT_FIELDS: [&str; 4] = ["api_base", "api_key", "base_url", "user_config"];

/// They go with a key of the caller's own, and with one only: they say of its account what the operator's say of his.
pub(crate) const COMPANIONS: [&str; 2] = ["api_version", "organization"];

/// Longest value of one field, in bytes; `user_config` may be as long as the body.
const MAX_FIELD: usize = 4096;

/// What a caller brings: a key and what goes with it, or a list of deployments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSide {
    /// The provider's credential.
    pub api_key: Option<Secret>,
    /// Where to go, and under which name the body says so.
    pub base: Option<(&'static str, Url)>,
    /// Azure's API version for the caller's account.
    pub api_version: Option<String>,
    /// `OpenAI-Organization` of the caller's account.
    pub organization: Option<String>,
    /// Deployments of the caller's own, as JSON: they stand in for `model_list` for this request.
    pub user_config: Option<Secret>,
}

impl ClientSide {
    /// Reads the members, given as pairs of a name and a JSON value.
    ///
    /// # Errors
    /// [`Denial::InvalidField`] for what is no text, or none that can be sent; for two addresses; for an address without
    /// a key.
    pub fn read<'a>(members: impl IntoIterator<Item = (&'static str, &'a str)>) -> Result<Self, Denial> {
        let mut read = Self::default();
        for (field, json) in members {
            match field {
                "api_key" => read.api_key = Some(text(field, json)?.into()),
                "api_version" => read.api_version = Some(version(field, text(field, json)?)?),
                "organization" => read.organization = Some(text(field, json)?),
                "user_config" => read.user_config = Some(json.into()),
                _ if read.base.is_some() => return Err(Denial::InvalidField(field, "is given beside another address")),
                _ => read.base = Some((field, base(field, &text(field, json)?)?)),
            }
        }
        if read.user_config.is_some() && (read.api_key.is_some() || read.base.is_some()) {
            return Err(Denial::InvalidField("user_config", "brings its own: leave out what stands beside it"));
        }
        match &read.base {
            Some((field, _)) if read.api_key.is_none() => {
                Err(Denial::InvalidField(field, "needs an api_key of your own beside it"))
            }
            _ => Ok(read),
        }
    }
}

/// A header, a path or a query can carry it. A reference is for the operator's file: nobody follows one from a body.
fn text(field: &'static str, json: &str) -> Result<String, Denial> {
    let Ok(text) = serde_json::from_str::<Cow<'_, str>>(json) else {
        return Err(Denial::InvalidField(field, "must be a string"));
    };
    let fits = (1..=MAX_FIELD).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !fits {
        return Err(Denial::InvalidField(field, "is empty, too long, or holds what no header can carry"));
    }
    if ["os.environ/", "oidc/", "file:"].iter().any(|prefix| text.starts_with(prefix)) {
        return Err(Denial::InvalidField(field, "is a reference, which only the configuration may hold"));
    }
    Ok(text.into_owned())
}

fn version(field: &'static str, text: String) -> Result<String, Denial> {
    let fits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    if fits { Ok(text) } else { Err(Denial::InvalidField(field, "is no version such as 2024-10-21")) }
}

/// An address below which a provider's paths begin.
///
/// # Errors
/// [`Denial::InvalidField`]: no address, another scheme than `http` and `https`, or one with a user, a query or a
/// fragment.
pub fn base(field: &'static str, text: &str) -> Result<Url, Denial> {
    let plain = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    let url = Url::parse(text).ok().filter(plain);
    url.ok_or(Denial::InvalidField(field, "is no address such as https://api.example.com/v1"))
}

/// What a deployment takes of a caller (`configurable_clientside_auth_params`). `Default` takes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSideRules {
    /// A key of its own.
    pub api_key: bool,
    /// An address, by the name `api_base`.
    pub api_base: BaseRule,
    /// An address, by the name `base_url`.
    pub base_url: BaseRule,
}

/// Which addresses a caller may choose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BaseRule {
    /// None.
    #[default]
    Never,
    /// Any that the outbound guard lets through.
    Any,
    /// Those that one of these matches.
    Matching(Vec<BasePattern>),
}

/// Who answers for the host that a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChosenBy {
    /// The operator's configuration names it.
    Operator,
    /// A client does: nothing is dialled before the outbound guard has seen it.
    Client,
}

impl ClientSideRules {
    /// Whether all that the caller brings is taken, and who answers for the host then.
    ///
    /// # Errors
    /// [`Denial::ForbiddenField`] with the first member that is not taken.
    pub fn take(&self, client: &ClientSide) -> Result<ChosenBy, Denial> {
        let refused = |field: &str| Err(Denial::ForbiddenField(field.to_owned()));
        if client.user_config.is_some() {
            return refused("user_config");
        }
        let chosen_by = match &client.base {
            None => ChosenBy::Operator,
            Some((field, url)) => {
                let rule = if *field == "api_base" { &self.api_base } else { &self.base_url };
                let Some(chosen_by) = rule.admit(url) else { return refused(field) };
                chosen_by
            }
        };
        if self.api_key { Ok(chosen_by) } else { refused("api_key") }
    }
}

impl BaseRule {
    fn admit(&self, url: &Url) -> Option<ChosenBy> {
        match self {
            Self::Never => None,
            Self::Any => Some(ChosenBy::Client),
            Self::Matching(patterns) => patterns.iter().find_map(|pattern| pattern.admit(url)),
        }
    }
}

/// One entry `api_base: <pattern>`: an address, or a regular expression for whole addresses.
#[derive(Clone, Debug)]
pub struct BasePattern {
    /// The pattern read as an address.
    exact: Option<Url>,
    regex: Regex,
}

impl PartialEq for BasePattern {
    fn eq(&self, other: &Self) -> bool {
        self.regex.as_str() == other.regex.as_str()
    }
}

impl Eq for BasePattern {}

impl BasePattern {
    /// Compiles a pattern. It has to match the whole address (LiteLLM: only its beginning).
    ///
    /// # Errors
    /// It is no regular expression.
    pub fn new(pattern: &str) -> Result<Self, &'static str> {
        let regex = Regex::new(&format!(r"\A(?:{pattern})\z"));
        let regex = regex.map_err(|_| "is no regular expression (no look-around, no back-references)")?;
        Ok(Self { exact: base("api_base", pattern).ok(), regex })
    }

    /// Whether it leaves the host open, so that it restricts nothing.
    #[must_use]
    pub fn is_open(&self) -> bool {
        ["https://client.invalid", "https://client.invalid/v1"].iter().any(|text| self.regex.is_match(text))
    }

    /// An address that is written out was chosen by the operator, like one of a deployment.
    fn admit(&self, url: &Url) -> Option<ChosenBy> {
        if self.exact.as_ref().is_some_and(|exact| without_slash(exact) == without_slash(url)) {
            return Some(ChosenBy::Operator);
        }
        (self.matches(url) && !self.matches_elsewhere(url)).then_some(ChosenBy::Client)
    }

    fn matches(&self, url: &Url) -> bool {
        self.regex.is_match(url.as_str()) || self.regex.is_match(without_slash(url))
    }

    /// Whether it leaves the end of the host open: `https://.*\.example\.com/v1` matches `https://evil.test/x.example.com/v1`
    /// by its path, and would match it under any other domain too.
    fn matches_elsewhere(&self, url: &Url) -> bool {
        let host = match url.host() {
            Some(Host::Ipv6(_)) | None => "client.invalid".to_owned(),
            Some(host) => format!("{host}.invalid"),
        };
        let mut elsewhere = url.clone();
        elsewhere.set_host(Some(&host)).is_err() || self.matches(&elsewhere)
    }
}

fn without_slash(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(patterns: &[&str]) -> ClientSideRules {
        let patterns = patterns.iter().map(|pattern| BasePattern::new(pattern).unwrap()).collect();
        ClientSideRules { api_key: true, api_base: BaseRule::Matching(patterns), base_url: BaseRule::Never }
    }

    fn bringing(field: &'static str, url: &str) -> ClientSide {
        ClientSide::read([("api_key", r#""sk-client""#), (field, &format!("\"{url}\""))]).unwrap()
    }

    #[test]
    fn what_cannot_be_sent_is_refused_by_name() {
        for (members, field) in [
            (&[("api_key", "null")][..], "api_key"),
            (&[("api_key", "123")], "api_key"),
            (&[("api_key", r#""""#)], "api_key"),
            (&[("api_key", r#""two words""#)], "api_key"),
            (&[("api_key", r#""os.environ/PATH""#)], "api_key"),
            (&[("api_key", r#""oidc/google/x""#)], "api_key"),
            (&[("api_base", r#""https://a.example""#)], "api_base"),
            (&[("base_url", r#""https://a.example""#)], "base_url"),
            (&[("api_key", r#""k""#), ("api_base", r#""https://u:p@a.example""#)], "api_base"),
            (&[("api_key", r#""k""#), ("api_base", r#""https://a.example/?q=1""#)], "api_base"),
            (&[("api_key", r#""k""#), ("api_base", r#""ftp://a.example""#)], "api_base"),
            (&[("api_key", r#""k""#), ("api_base", r#""a.example""#)], "api_base"),
            (&[("api_key", r#""k""#), ("api_base", r#""""#)], "api_base"),
            (&[("api_key", r#""k""#), ("api_version", r#""2024&x=1""#)], "api_version"),
            (
                &[
                    ("api_key", r#""k""#),
                    ("api_base", r#""https://a.example""#),
                    ("base_url", r#""https://a.example""#),
                ],
                "base_url",
            ),
        ] {
            let refused = ClientSide::read(members.iter().copied());
            assert!(
                matches!(&refused, Err(Denial::InvalidField(name, _)) if *name == field),
                "{members:?}: {refused:?}"
            );
        }
    }

    #[test]
    fn a_deployment_takes_what_it_lists_and_nothing_else() {
        let key = ClientSide::read([("api_key", r#""k""#)]).unwrap();
        let (api_base, base_url) =
            (bringing("api_base", "https://a.example"), bringing("base_url", "https://a.example"));
        let config = ClientSide::read([("user_config", "{}")]).unwrap();
        let only_key = ClientSideRules { api_key: true, ..ClientSideRules::default() };
        let only_base = ClientSideRules { api_base: BaseRule::Any, ..ClientSideRules::default() };
        let both = ClientSideRules { api_key: true, ..only_base.clone() };
        let everything = ClientSideRules { base_url: BaseRule::Any, ..both.clone() };
        for (rules, client, taken) in [
            (&ClientSideRules::default(), &key, Err("api_key")),
            (&only_key, &key, Ok(ChosenBy::Operator)),
            (&only_key, &api_base, Err("api_base")),
            (&only_base, &api_base, Err("api_key")),
            (&both, &api_base, Ok(ChosenBy::Client)),
            (&both, &base_url, Err("base_url")),
            (&everything, &base_url, Ok(ChosenBy::Client)),
            (&everything, &config, Err("user_config")),
        ] {
            let taken = taken.map_err(|field| Denial::ForbiddenField(field.to_owned()));
            assert_eq!(rules.take(client), taken, "{rules:?} {client:?}");
        }
    }

    #[test]
    fn a_pattern_is_for_the_whole_address_and_its_host() {
        const FIREWORKS: &str = r"^https://litellm.*direct\.fireworks\.ai/v1$";
        for (pattern, url, chosen_by) in [
            (FIREWORKS, "https://litellm-team-direct.fireworks.ai/v1", Some(ChosenBy::Client)),
            (FIREWORKS, "https://LITELLM-direct.fireworks.ai:443/v1/", Some(ChosenBy::Client)),
            (FIREWORKS, "https://litellm-direct.fireworks.ai/v1/more", None),
            (FIREWORKS, "https://litellm-evil.test/direct.fireworks.ai/v1", None),
            (FIREWORKS, "http://litellm-direct.fireworks.ai/v1", None),
            (r"https://.*\.example\.com/v1", "https://evil.test/x.example.com/v1", None),
            (r"https://.*\.example\.com/v1", "https://eu.example.com/v1", Some(ChosenBy::Client)),
            (r"https://.*\.example\.com/v1", "https://[2606:4700::1]/x.example.com/v1", None),
            (r"https://\[2606:4700::1\]/v1", "https://[2606:4700::1]/v1", Some(ChosenBy::Client)),
            (r"https://10\.0\.0\.\d+:8000", "https://10.0.0.7:8000", Some(ChosenBy::Client)),
            (r"https://api-.*", "https://api-evil.test", None),
            (r"https://api\.example\.com", "https://api.example.com.evil.test", None),
            ("http://10.0.0.5:8000/v1", "http://10.0.0.5:8000/v1", Some(ChosenBy::Operator)),
            ("http://10.0.0.5:8000/v1", "http://10.0.0.5:8000/v1/", Some(ChosenBy::Operator)),
            ("http://10.0.0.5:8000/v1", "http://10.0.0.5:8001/v1", None),
            ("https://api.example.com/v1", "https://API.example.com/v1", Some(ChosenBy::Operator)),
            // An address is a regular expression as well, in which a dot is any character.
            ("https://api.example.com/v1", "https://api-example.com/v1", Some(ChosenBy::Client)),
        ] {
            let taken = rules(&[pattern]).take(&bringing("api_base", url)).ok();
            assert_eq!(taken, chosen_by, "{pattern} {url}");
        }
    }

    #[test]
    fn an_open_pattern_is_known_as_one() {
        for (pattern, open) in
            [(".*", true), ("https://.*", true), (r"https://[^/]+/v1", true), (r"https://.*\.ai/v1", false)]
        {
            assert_eq!(BasePattern::new(pattern).unwrap().is_open(), open, "{pattern}");
        }
        assert!(BasePattern::new("(").is_err());
    }
}
