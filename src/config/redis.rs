//! The server that counts for all nodes.

use std::time::Duration;

use super::known::Known;
use super::reader::Section;
use crate::shared_counters::RedisSettings;

/// Most names are LiteLLM's; the server may be the one that it uses.
const NAMESPACE: &str = "portcullis";

/// A server in the same network answers in well under a millisecond; a node that is busy itself may take longer to hear it.
const PATIENCE: u64 = 250;

pub(super) fn read(own: &Section<'_>) -> Option<RedisSettings> {
    let section = own.section("redis", &Known::NOTHING_ELSE);
    let namespace = section.field("namespace").and_then(|field| {
        field.parsed(|text| match text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte)) {
            true => Ok(text.to_owned()),
            false => Err("expected letters, digits and -_.: only"),
        })
    });
    let patience = Duration::from_millis(section.whole("timeout_ms", 1..=5_000, PATIENCE));
    let url = match own.field("redis") {
        Some(_) => section.required("url"),
        None => section.field("url"),
    }?;
    let settings =
        RedisSettings { url: url.secret()?, namespace: namespace.unwrap_or_else(|| NAMESPACE.to_owned()), patience };
    match settings.check() {
        Ok(()) => Some(settings),
        Err(why) => {
            url.mistake(why);
            None
        }
    }
}
