//! What calls take, as operators find it: read from every form of answer, charged to the key, exact after a crash, held
//! against tokens and budgets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod budgets;
mod crash;
mod forms;
mod outage;
mod people;
mod reports;
mod scene;
mod streams;
#[path = "../support/mod.rs"]
mod support;
