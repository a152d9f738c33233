//! What a node has under way, name by name, and what of it is still to be told.

use std::collections::HashMap;

use portcullis_filters::authn::virtual_key::KeyHash;
use portcullis_filters::limits::SharedLimit;

/// What is known of every name in use.
#[derive(Default)]
pub(super) struct Ledger {
    entries: HashMap<KeyHash, Entry>,
    /// Names about which something is to be told.
    queue: Vec<KeyHash>,
    /// Of the last word.
    number: u64,
}

/// What is known of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// Requests under way.
    at_once: u64,
    /// Tokens that are held back for them.
    held: u64,
    /// How many takings at the server are in these numbers, and what was held back with them.
    known: u64,
    known_tokens: u64,
    /// Of the newest word about it: a later word has a greater one.
    number: u64,
    /// Whether what is under way counts at all.
    is_under_way: bool,
    is_queued: bool,
    /// What counts in `minute` and the server does not know; less than nothing: what it counted too much.
    pub(super) requests: i64,
    /// Likewise.
    pub(super) tokens: u64,
    minute: u64,
}

impl Entry {
    pub(super) fn begins(&mut self, tokens: u64) {
        self.is_under_way = true;
        self.at_once += 1;
        self.held = self.held.saturating_add(tokens);
    }

    pub(super) fn gives_back(&mut self, tokens: u64) {
        self.held = self.held.saturating_sub(tokens);
    }

    pub(super) fn ends(&mut self) {
        self.at_once = self.at_once.saturating_sub(1);
    }

    /// As the scripts read it; empty where only what has passed counts.
    pub(super) fn word(&self) -> String {
        let Self { number, at_once, held, known, known_tokens, is_under_way, .. } = self;
        if !is_under_way {
            return String::new();
        }
        format!(
            r#"{{"number":{number},"at_once":{at_once},"held":{held},"known":{known},"known_tokens":{known_tokens}}}"#
        )
    }

    fn is_idle(&self) -> bool {
        self.at_once == 0 && self.requests == 0 && self.tokens == 0
    }
}

impl Ledger {
    /// Changes an entry; whether there was nothing to be told before.
    pub(super) fn change(&mut self, name: KeyHash, minute: u64, change: impl FnOnce(&mut Entry)) -> bool {
        self.number += 1;
        let entry = self.entries.entry(name).or_default();
        if entry.minute != minute {
            (entry.minute, entry.requests, entry.tokens) = (minute, 0, 0);
        }
        change(entry);
        entry.number = self.number;
        if !std::mem::replace(&mut entry.is_queued, true) {
            self.queue.push(name);
        }
        self.queue.len() == 1
    }

    /// The newest word about a name, for a question that is put now.
    pub(super) fn word(&mut self, name: KeyHash) -> String {
        self.number += 1;
        let entry = self.entries.entry(name).or_default();
        (entry.number, entry.is_under_way) = (self.number, true);
        entry.word()
    }

    /// One was taken at the server. It knows that: nothing is to be told.
    pub(super) fn taken(&mut self, limit: &SharedLimit) {
        self.number += 1;
        let entry = self.entries.entry(limit.counted_as).or_default();
        entry.number = self.number;
        entry.begins(limit.tokens);
        entry.known += 1;
        entry.known_tokens = entry.known_tokens.saturating_add(limit.tokens);
    }

    /// What is to be told next. It counts as told.
    pub(super) fn take_untold(&mut self, most: usize, minute: u64) -> Vec<(KeyHash, Entry)> {
        let names = self.queue.split_off(self.queue.len().saturating_sub(most));
        let tell = |name: KeyHash| {
            let entry = self.entries.get_mut(&name)?;
            entry.is_queued = false;
            // What counted in a minute that is over counts no more.
            if entry.minute != minute {
                (entry.requests, entry.tokens) = (0, 0);
            }
            let told = entry.clone();
            (entry.requests, entry.tokens) = (0, 0);
            Some((name, told))
        };
        names.into_iter().filter_map(tell).collect()
    }

    /// It was told. `forgotten`: for each name whether the server keeps nothing of it any more.
    pub(super) fn told(&mut self, batch: &[(KeyHash, Entry)], forgotten: &[u8]) {
        for ((name, told), forgotten) in batch.iter().zip(forgotten) {
            let is_over = *forgotten == 1 || !told.is_under_way;
            // Unless something was said of it since: then the server is about to keep something again.
            if is_over && self.entries.get(name).is_some_and(|entry| entry.number == told.number && entry.is_idle()) {
                self.entries.remove(name);
            }
        }
    }

    /// It could not be told, and is told later.
    pub(super) fn not_told(&mut self, batch: Vec<(KeyHash, Entry)>, minute: u64) {
        for (name, told) in batch {
            let is_current = told.minute == minute;
            self.change(name, minute, |entry| {
                if is_current {
                    entry.requests += told.requests;
                    entry.tokens = entry.tokens.saturating_add(told.tokens);
                }
            });
        }
    }

    /// The server knows nothing of this node: all that is under way is to be told.
    pub(super) fn begin_anew(&mut self) {
        self.entries.retain(|_, entry| !entry.is_idle());
        self.queue = self.entries.keys().copied().collect();
        self.entries.values_mut().for_each(|entry| entry.is_queued = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit() -> SharedLimit {
        SharedLimit { counted_as: KeyHash::of("a"), rpm: None, tpm: Some(9), parallel: Some(5), tokens: 3 }
    }

    #[test]
    fn a_taking_that_the_server_made_is_known_and_its_end_is_told() {
        let (mut ledger, name) = (Ledger::default(), limit().counted_as);
        assert!(ledger.word(name).contains(r#""at_once":0,"held":0,"known":0"#));
        ledger.taken(&limit());
        assert_eq!(ledger.take_untold(9, 1), [], "the server knows that");
        assert!(ledger.word(name).contains(r#""at_once":1,"held":3,"known":1,"known_tokens":3"#));
        let ended = |entry: &mut Entry| {
            entry.gives_back(3);
            entry.tokens += 7;
            entry.ends();
        };
        assert!(ledger.change(name, 1, ended), "somebody is woken for the first word");
        let told = ledger.take_untold(9, 1);
        assert!(told[0].1.word().contains(r#""at_once":0,"held":0,"known":1"#) && told[0].1.tokens == 7);
        assert_eq!(ledger.take_untold(9, 1), []);
        // Lost on the way: what counts in this minute is told again, and in the next one no more.
        ledger.not_told(told.clone(), 1);
        assert_eq!(ledger.take_untold(9, 1)[0].1.tokens, 7);
        ledger.not_told(told, 2);
        let told = ledger.take_untold(9, 2);
        assert_eq!(told[0].1.tokens, 0);
        // Forgotten there, it is forgotten here, unless it is in use again.
        ledger.word(name);
        ledger.told(&told, &[1]);
        assert_eq!(ledger.entries.len(), 1, "a question is on its way that says what is known");
        ledger.change(name, 2, |_| {});
        let told = ledger.take_untold(9, 2);
        ledger.told(&told, &[0]);
        assert_eq!(ledger.entries.len(), 1, "the server still keeps something");
        ledger.told(&told, &[1]);
        assert!(ledger.entries.is_empty());
    }

    #[test]
    fn a_new_server_is_told_of_all_that_is_under_way() {
        let mut ledger = Ledger::default();
        for n in 0..5 {
            ledger.taken(&SharedLimit { counted_as: KeyHash::of(&n.to_string()), ..limit() });
        }
        ledger.change(KeyHash::of("0"), 1, Entry::ends);
        ledger.begin_anew();
        assert_eq!(ledger.take_untold(3, 1).len(), 3);
        assert_eq!(ledger.take_untold(3, 1).len(), 1, "and not of what has ended");
        assert_eq!(ledger.entries.len(), 4);
    }
}
