//! What calls took, from the end of an answer to the store: noted at once in a journal on disk, posted in batches.

use std::time::SystemTime;

use portcullis_filters::authn::virtual_key::KeyHash;
use portcullis_filters::price::Cost;
use portcullis_filters::usage::Usage;

mod journal;
mod line;

pub use journal::{Journal, Segment};

/// What one call took, and who is charged with it. Holds nothing of what was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRecord {
    /// The request's id, as the caller got it.
    pub id: String,
    /// When its answer began.
    pub began: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// Who is charged.
    pub caller: Caller,
    /// The call, by the path behind `/v1`.
    pub call: String,
    /// The model by the name that counts for rights.
    pub model: String,
    /// The provider's name for it.
    pub upstream_model: String,
    /// The provider.
    pub provider: String,
    /// Tokens.
    pub usage: Usage,
    /// What they cost.
    pub cost: Cost,
    /// Whether the tokens are an estimate.
    pub is_estimate: bool,
}

/// Who is charged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Caller {
    /// The [`Principal`](portcullis_filters::principal::Principal)'s id.
    pub id: String,
    /// The virtual key.
    pub key: Option<KeyHash>,
    /// The user.
    pub user_id: Option<String>,
    /// The team.
    pub team_id: Option<String>,
    /// The organisation.
    pub organization_id: Option<String>,
    /// The customer on whose behalf the call was made.
    pub end_user_id: Option<String>,
}
