//! Users and teams that a token named for the first time: kept in a bounded queue, written in batches off the request path.
//!
//! What must stay true: a request never waits for this; the queue never outgrows its bound; an entry leaves it when its row
//! is committed, so an absent store delays rows and loses none that fit. One that did not fit is asked for again by the
//! next request of its bearer.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use portcullis_admin_api::store::{AuditRow, is_keepable};
use portcullis_filters::authn::virtual_key::KeyHash;
use portcullis_filters::directory::Enrolment;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::Inner;
use super::change::Change;
use super::directory::name_of;

/// Who made such a row, in it and in its audit row: the word for how its bearer was authenticated.
pub(super) const ACTOR: &str = "jwt";

/// Entries that may wait. Each is at most two texts of 1024 bytes.
const MOST: usize = 10_000;

/// Rows of one transaction: their hashes fit into one notification.
const BATCH: usize = 100;

/// How long a batch that could not be written is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// The queue.
#[derive(Default)]
pub(super) struct Enrolments {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Default)]
struct Waiting {
    /// Only the writer takes from the front, so what it counted there stays there.
    order: VecDeque<Enrolment>,
    names: HashSet<KeyHash>,
    /// Whether it was said that entries are dropped.
    is_full: bool,
}

impl Enrolments {
    /// Takes an entry, unless it waits already, there is no room, or no row can hold it.
    pub(super) fn ask(&self, enrolment: Enrolment) {
        let Some(enrolment) = kept(enrolment) else { return };
        let name = name_of(&enrolment);
        let mut waiting = self.waiting();
        if waiting.names.contains(&name) {
            return;
        }
        if waiting.order.len() >= MOST {
            if !std::mem::replace(&mut waiting.is_full, true) {
                tracing::warn!(waiting = MOST, "too many new users and teams wait to be stored: further ones are not");
            }
            return;
        }
        waiting.names.insert(name);
        waiting.order.push_back(enrolment);
        drop(waiting);
        self.news.notify_one();
    }

    /// Copies of the first entries, which stay where they are.
    fn first(&self, most: usize) -> Vec<Enrolment> {
        self.waiting().order.iter().take(most).cloned().collect()
    }

    /// The first `count` entries are written.
    fn done(&self, count: usize) {
        let waiting = &mut *self.waiting();
        for enrolment in waiting.order.drain(..count) {
            waiting.names.remove(&name_of(&enrolment));
        }
        waiting.is_full = false;
    }

    /// The first `count` entries could not be written: others have their turn first.
    fn postpone(&self, count: usize) {
        self.waiting().order.rotate_left(count);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Writes what waits, for ever.
    pub(super) async fn follow_enrolments(&self) {
        let mut most = BATCH;
        loop {
            let batch = self.enrolments.first(most);
            if batch.is_empty() {
                self.enrolments.news.notified().await;
                continue;
            }
            match self.write(Change::enrol(&batch, SystemTime::now())).await {
                Ok(()) => {
                    self.enrolments.done(batch.len());
                    most = BATCH;
                }
                Err(error) => {
                    if most == BATCH {
                        tracing::warn!(cause = %error, "new users and teams wait: they cannot be stored now");
                    }
                    self.enrolments.postpone(batch.len());
                    most = (most / 2).max(1); // should one of them be the reason, it must not hold the others up
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// What of an entry the databases can keep; `None` where that is not even the id.
fn kept(enrolment: Enrolment) -> Option<Enrolment> {
    match enrolment {
        Enrolment::User { id, email } if is_keepable(&id) => {
            Some(Enrolment::User { id, email: email.filter(|email| is_keepable(email)) })
        }
        Enrolment::Team { id } if is_keepable(&id) => Some(Enrolment::Team { id }),
        Enrolment::User { .. } | Enrolment::Team { .. } => None,
    }
}

/// The audit row of a row that is made.
pub(super) fn audit(enrolment: &Enrolment, at: SystemTime) -> AuditRow {
    let (object_type, id, after) = match enrolment {
        Enrolment::User { id, email } => ("user", id, json!({ "user_id": id, "user_email": email })),
        Enrolment::Team { id } => ("team", id, json!({ "team_id": id })),
    };
    AuditRow {
        id: 0,
        at,
        actor: ACTOR.to_owned(),
        changed_by: None,
        source: None,
        request_id: None,
        action: "created".to_owned(),
        object_type: object_type.to_owned(),
        object_id: id.clone(),
        before: Value::Null,
        after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> Enrolment {
        Enrolment::User { id: id.to_owned(), email: None }
    }

    fn team(id: &str) -> Enrolment {
        Enrolment::Team { id: id.to_owned() }
    }

    #[test]
    fn an_entry_waits_once_until_it_is_written() {
        let queue = Enrolments::default();
        for enrolment in [user("a"), user("a"), team("a"), user("b"), team("a")] {
            queue.ask(enrolment);
        }
        assert_eq!(queue.first(10), [user("a"), team("a"), user("b")]);
        assert_eq!(queue.first(2).len(), 2);
        queue.postpone(2);
        assert_eq!(queue.first(10), [user("b"), user("a"), team("a")], "others have their turn first");
        queue.ask(user("a"));
        queue.done(2);
        assert_eq!(queue.first(10), [team("a")]);
        queue.ask(user("a"));
        assert_eq!(queue.first(10), [team("a"), user("a")], "what is written may be asked for again");
    }

    #[test]
    fn the_queue_is_bounded_and_takes_again_when_there_is_room() {
        let queue = Enrolments::default();
        for number in 0..MOST + 100 {
            queue.ask(user(&number.to_string()));
        }
        assert_eq!(queue.first(usize::MAX).len(), MOST);
        queue.ask(user("late"));
        queue.done(BATCH);
        queue.ask(user("late"));
        assert_eq!(queue.first(usize::MAX).last(), Some(&user("late")));
    }

    #[test]
    fn what_no_row_can_hold_is_not_taken() {
        let queue = Enrolments::default();
        let long = "x".repeat(1025);
        for id in ["a\u{0}b", "a\nb", &long] {
            queue.ask(user(id));
            queue.ask(team(id));
        }
        assert_eq!(queue.first(10), []);
        queue.ask(Enrolment::User { id: "a".to_owned(), email: Some("a\u{0}".to_owned()) });
        assert_eq!(queue.first(10), [user("a")], "a bearer is not refused a row for their address");
    }
}
