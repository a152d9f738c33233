//! Among how many nodes a limit is shared that nobody counts for all of them.
//!
//! Each node says every few seconds that it is there, and looks who else does. A node that is new counts at once, one that
//! has ended a while longer: shares are rather too small for a moment than too large.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use portcullis_admin_api::store::StoreError;
use portcullis_filters::limits::Limits;
use tokio::sync::Mutex;
use tokio::time::{Instant, interval};

use crate::store::{NodeBeat, Store};

/// How often a node says that it is there.
const BEAT: Duration = Duration::from_secs(3);

/// How long a node counts that says nothing.
const QUIET: Duration = Duration::from_secs(15);

/// After which it is taken out of the list.
const GONE: Duration = Duration::from_secs(60);

/// What a node knows of the others.
pub struct Nodes {
    store: Store,
    limits: Limits,
    known: Mutex<Known>,
}

struct Known {
    /// The same after a restart, or a node that restarts would count twice for a while.
    own: String,
    /// How many there are, this one included.
    there: usize,
    /// Its last word.
    beat: Option<i64>,
    /// The last word of each, and when it was first heard.
    heard: HashMap<String, (i64, Instant)>,
}

impl Nodes {
    /// `address`: of the data listener.
    #[must_use]
    pub fn new(store: Store, limits: Limits, address: &str) -> Self {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| random());
        let own = format!("{} {address}", host.trim());
        Self { store, limits, known: Mutex::new(Known { own, there: 1, beat: None, heard: HashMap::new() }) }
    }

    /// Says and looks, for ever.
    pub async fn run(&self) {
        let mut beats = interval(BEAT);
        loop {
            beats.tick().await;
            if let Err(error) = self.look().await {
                tracing::debug!(cause = %error, "who else serves cannot be seen now");
            }
        }
    }

    async fn look(&self) -> Result<(), StoreError> {
        let mut known = self.known.lock().await;
        let (own, all) = self.store.beat(&known.own).await?;
        if known.beat.is_some_and(|last| own.beat != last + 1) {
            // Somebody else goes by this name: two machines may have one.
            known.own = format!("{} {}", known.own, random());
            known.beat = None;
            return Ok(());
        }
        known.beat = Some(own.beat);
        let gone = known.hear(all, Instant::now());
        let there = known.heard.values().filter(|(_, since)| since.elapsed() < QUIET).count();
        if there != known.there {
            tracing::info!(nodes = there, "limits in minutes and at once are shared among the nodes that serve");
            known.there = there;
        }
        self.limits.nodes_are(there as u64);
        for ended in gone {
            self.store.remove_node(&ended).await?;
        }
        Ok(())
    }

    /// Says that this node ends.
    pub async fn leave(&self) {
        let known = self.known.lock().await;
        if let Some(beat) = known.beat {
            let _ = self.store.remove_node(&NodeBeat { node: known.own.clone(), beat }).await;
        }
    }
}

impl Known {
    /// Takes down who is there; returns who is gone.
    fn hear(&mut self, all: Vec<NodeBeat>, now: Instant) -> Vec<NodeBeat> {
        let mut gone = Vec::new();
        let mut heard = HashMap::new();
        for NodeBeat { node, beat } in all {
            let since = self.heard.get(&node).filter(|(last, _)| *last == beat).map_or(now, |(_, since)| *since);
            if now.duration_since(since) >= GONE {
                gone.push(NodeBeat { node, beat });
            } else {
                heard.insert(node, (beat, since));
            }
        }
        self.heard = heard;
        gone
    }
}

fn random() -> String {
    format!("{:08x}", rand::random::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_says_nothing_is_heard_of_until_it_is_gone() {
        let mut known = Known { own: "a".to_owned(), there: 1, beat: None, heard: HashMap::new() };
        let start = Instant::now();
        let said = |node: &str, beat| NodeBeat { node: node.to_owned(), beat };
        assert_eq!(known.hear(vec![said("a", 1), said("b", 7)], start), []);
        let later = start + QUIET;
        assert_eq!(known.hear(vec![said("a", 2), said("b", 7)], later), []);
        let quiet = |known: &Known, node: &str| later.duration_since(known.heard[node].1) >= QUIET;
        assert!(quiet(&known, "b") && !quiet(&known, "a"));
        assert_eq!(known.hear(vec![said("a", 3), said("b", 7)], start + GONE), [said("b", 7)]);
        assert!(!known.heard.contains_key("b"));
        assert_eq!(known.hear(vec![said("b", 8)], start + GONE), [], "it is back");
    }
}
