//! How a key that nobody asked for is judged: the four classes of `DESIGN`, applied to one section's table.
//!
//! The tables themselves are facts about LiteLLM and stand in `litellm.rs`. What must stay true: a key that would
//! restrict access and is not in force stops the start; a key that is in no table does so too.

use std::collections::BTreeSet;

/// What is known of one section's keys beside those that are honoured.
pub(super) struct Known {
    /// Not about this product; separated by white space.
    pub(super) ignored: &'static str,
    /// Opens something that stays closed, or helps with something that is not done: named at start, with the meaning.
    pub(super) unserved: &'static [(&'static str, &'static str)],
    /// Would restrict access, change who may do what, or carry a credential: stops the start, with the reason.
    pub(super) refused: &'static [(&'static str, &'static str)],
    /// Whether LiteLLM takes any further key here and hands it to the provider.
    pub(super) open: bool,
}

/// What becomes of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Class {
    Ignored,
    Unserved(&'static str),
    Refused(&'static str),
    Unknown { nearest: Option<String> },
}

impl Known {
    /// For our own sections: what is not honoured is unknown.
    pub(super) const NOTHING_ELSE: Self = Self { ignored: "", unserved: &[], refused: &[], open: false };

    /// Judges a key; `honoured` are the section's own.
    pub(super) fn class(&self, key: &str, honoured: &BTreeSet<&'static str>) -> Class {
        let listed = |list: &[(&'static str, &'static str)]| {
            list.iter().find(|(name, _)| *name == key).map(|(_, sentence)| *sentence)
        };
        if let Some(why) = listed(self.refused) {
            return Class::Refused(why);
        }
        if let Some(meaning) = listed(self.unserved) {
            return Class::Unserved(meaning);
        }
        if self.ignored.split_ascii_whitespace().any(|name| name == key) {
            return Class::Ignored;
        }
        let refused = self.refused.iter().map(|(name, _)| *name);
        let weighty = honoured.iter().copied().chain(refused);
        if !self.open {
            let unserved = self.unserved.iter().map(|(name, _)| *name);
            return Class::Unknown {
                nearest: nearest(key, weighty.chain(unserved).chain(self.ignored.split_ascii_whitespace())),
            };
        }
        // A provider's own parameter, unless it is one of the keys that matter, mistyped.
        match nearest(key, weighty) {
            Some(nearest) => Class::Unknown { nearest: Some(nearest) },
            None if carries_credential(key) => Class::Refused("credentials in this key are not supported"),
            None => Class::Ignored,
        }
    }
}

/// Whether a provider's own parameter looks like a credential that we would silently leave out.
fn carries_credential(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["_key", "_token", "_secret", "_password", "_credentials", "_credential"].iter().any(|end| key.ends_with(end))
}

/// The listed name that was probably meant: at most two slips away, fewer for short words.
fn nearest<'n>(key: &str, names: impl Iterator<Item = &'n str>) -> Option<String> {
    if key.len() > 64 {
        return None;
    }
    let slips = if key.len() <= 4 { 1 } else { 2 };
    let distance = |name: &str| strsim::osa_distance(&key.to_ascii_lowercase(), name);
    names.map(|name| (distance(name), name)).filter(|(d, _)| *d <= slips).min().map(|(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Known = Known { ignored: "top_p", unserved: &[], refused: &[("max_budget", "limits")], open: true };
    const CLOSED: Known = Known { open: false, ..OPEN };

    #[test]
    fn a_key_is_judged_by_the_table() {
        let honoured = BTreeSet::from(["api_key", "model"]);
        for (known, key, class) in [
            (&OPEN, "top_p", Class::Ignored),
            (&OPEN, "top_k", Class::Ignored),
            (&OPEN, "max_budget", Class::Refused("limits")),
            (&OPEN, "max_bugdet", Class::Unknown { nearest: Some("max_budget".to_owned()) }),
            (&OPEN, "apikey", Class::Unknown { nearest: Some("api_key".to_owned()) }),
            (&OPEN, "watson_apikey_token", Class::Refused("credentials in this key are not supported")),
            (&CLOSED, "top_k", Class::Unknown { nearest: Some("top_p".to_owned()) }),
            (&CLOSED, "Model", Class::Unknown { nearest: Some("model".to_owned()) }),
            (&CLOSED, "nothing_like_it", Class::Unknown { nearest: None }),
        ] {
            assert_eq!(known.class(key, &honoured), class, "{key}");
        }
    }
}
