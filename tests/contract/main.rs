//! The contract with those who come from LiteLLM, and with those who read our documents: what was recorded of LiteLLM is
//! replayed, the article's session is typed, every `curl` line of the documents is run, and the tables in `docs/` are
//! compared with what the program does.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod article;
mod check;
mod compatibility;
mod documents;
mod readme;
mod recorded;
mod replay;
mod shell;
#[path = "../support/mod.rs"]
mod support;
