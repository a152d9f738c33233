//! Who is told of keys that are about to end.

use std::time::Duration;

use portcullis_filters::secret::Secret;
use reqwest::Url;

use super::known::Known;
use super::reader::Section;

/// A web hook and when it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeSettings {
    /// Where to.
    pub url: Url,
    /// What notices are signed with.
    pub secret: Option<Secret>,
    /// How long before its end a key is spoken of.
    pub before: Duration,
    /// How long the hook may take.
    pub timeout: Duration,
}

const WEEK: Duration = Duration::from_secs(7 * 86_400);

pub(super) fn read(own: &Section<'_>) -> Option<NoticeSettings> {
    let section = own.section("notices", &Known::NOTHING_ELSE);
    let secret = section.field("secret").and_then(|field| field.secret());
    let before = section.time("before", 60..=366 * 86_400, WEEK);
    let timeout = section.time("timeout", 1..=60, Duration::from_secs(10));
    let field = match own.field("notices") {
        Some(_) => section.required("url"),
        None => section.field("url"),
    }?;
    let url = field.parsed(|text| {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        url.ok_or("expected an address such as https://hooks.example/keys")
    })?;
    Some(NoticeSettings { url, secret, before, timeout })
}
