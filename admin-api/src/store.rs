//! What the management API asks of a store: the writes and the reads that the hot path never makes.
//!
//! The trait speaks of rows as they are kept, not of requests: validation, defaults and shapes belong to the handlers.
//! Every write takes its audit row with it and commits both or neither. Times are `SystemTime`, kept to the microsecond.

use std::collections::BTreeMap;
use std::time::SystemTime;

use async_trait::async_trait;
use portcullis_filters::authn::jwt::deny_list::DeniedClaim;
use portcullis_filters::authn::virtual_key::KeyHash;
use serde_json::{Map, Value};

mod people;

pub use people::{MemberChange, MemberRole, TeamMember, TeamQuery, TeamRow, UserQuery, UserRow};

/// One virtual key as it is kept. A deleted key keeps its row, so that its history can be read and its string can never
/// be issued again.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyRow {
    /// Hash of the key string: the primary key.
    pub token: KeyHash,
    /// Counts the writes to this row; a write must name the version that it read.
    pub version: i64,
    /// What may be shown of the key string: `sk-...` and its last four characters.
    pub key_name: Option<String>,
    /// The operator's name; unique among keys that are not deleted.
    pub key_alias: Option<String>,
    /// Owner.
    pub user_id: Option<String>,
    /// Team.
    pub team_id: Option<String>,
    /// Organisation.
    pub organization_id: Option<String>,
    /// Models that the key may use, as given: names, `prefix/*` patterns, access groups. Empty means all.
    pub models: Vec<String>,
    /// Routes that the key may call, as given. Empty means: by role.
    pub allowed_routes: Vec<String>,
    /// Model names that the key's requests are rewritten to before the access check.
    pub aliases: BTreeMap<String, String>,
    /// When the key ends; `None` means never.
    pub expires: Option<SystemTime>,
    /// Refused until unblocked. `None` is how LiteLLM says that nobody ever decided.
    pub blocked: Option<bool>,
    /// Money spent in the current budget window, in US dollars.
    pub spend: f64,
    /// Whether a write over this row sets what was spent. Otherwise it stays as calls have made it meanwhile. False in what
    /// is read.
    pub sets_spend: bool,
    /// When `spend` is set to nothing again; `None` without a `budget_duration`.
    pub budget_reset_at: Option<SystemTime>,
    /// Every other field that LiteLLM knows, as given (limits, budgets, metadata, tags, ...).
    pub settings: Map<String, Value>,
    /// How often the key string was replaced.
    pub rotation_count: i64,
    /// When it was replaced last.
    pub last_rotation_at: Option<SystemTime>,
    /// When the row was made.
    pub created_at: SystemTime,
    /// By whom.
    pub created_by: Option<String>,
    /// When the row was written last.
    pub updated_at: SystemTime,
    /// By whom.
    pub updated_by: Option<String>,
    /// When the key was deleted; `None` for a live key.
    pub deleted_at: Option<SystemTime>,
    /// By whom.
    pub deleted_by: Option<String>,
}

/// One line of the audit log. Holds no secret: keys appear by their hash.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRow {
    /// Position in the log; given by the store (0 in a row that is yet to be written).
    pub id: i64,
    /// When it happened.
    pub at: SystemTime,
    /// Who did it: a [`Principal`](portcullis_filters::principal::Principal)'s id.
    pub actor: String,
    /// On whose behalf, as the caller claims in `litellm-changed-by`.
    pub changed_by: Option<String>,
    /// Address the request came from.
    pub source: Option<String>,
    /// The request's id, to find it in the access log.
    pub request_id: Option<String>,
    /// What was done: `created`, `updated`, `deleted`, `blocked`, `unblocked`, `rotated`, `denied`, `allowed`.
    pub action: String,
    /// What kind of thing it was done to: `key`, `token`, `user`, `team`.
    pub object_type: String,
    /// Which one.
    pub object_id: String,
    /// The fields before; null where there was nothing.
    pub before: Value,
    /// The fields after; null where nothing is left.
    pub after: Value,
}

/// A replacement of one key string by another.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotation {
    /// The string that is replaced.
    pub old: KeyHash,
    /// The row under its new `token`, with all other fields as they shall be from now on; `version` is the one read.
    pub row: KeyRow,
    /// Until when the old string goes on working; `None` ends it at once.
    pub grace_until: Option<SystemTime>,
    /// Lets the same request be repeated without a second rotation.
    pub replay: Option<Replay>,
}

/// What is kept to answer a repeated rotation request alike. The new key string is not in it: it is derived from the
/// caller's idempotency key and this salt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// SHA-256 of the `Idempotency-Key` header's value.
    pub request: [u8; 32],
    /// Random, made with the rotation.
    pub salt: [u8; 32],
    /// The key that the rotation produced.
    pub new: KeyHash,
}

/// A denial of tokens as it is kept: those of one issuer whose claim has one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenialRow {
    /// The claim that is looked at.
    pub claim: DeniedClaim,
    /// The tokens' `iss`; empty for tokens without one.
    pub issuer: String,
    /// The value of the claim.
    pub value: String,
    /// Only tokens issued until then; `None` denies all.
    pub issued_until: Option<SystemTime>,
    /// From this instant on the denial says nothing.
    pub until: SystemTime,
    /// The write that made the row what it is, given by the store. A write must name the one that it read; 0 where there
    /// was no row.
    pub epoch: i64,
    /// When it was made.
    pub created_at: SystemTime,
    /// By whom.
    pub created_by: Option<String>,
    /// Why, in somebody's words.
    pub reason: Option<String>,
    /// When it was taken back; the row is kept until its time is over, so that every process learns of it.
    pub allowed_at: Option<SystemTime>,
}

impl DenialRow {
    /// Whether it denies anything at `now`.
    #[must_use]
    pub fn is_in_force(&self, now: SystemTime) -> bool {
        self.allowed_at.is_none() && self.until > now
    }
}

/// Which denials a listing shows: those in force at `now`. All conditions must hold; `None` does not restrict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenialQuery {
    /// The claim.
    pub claim: Option<DeniedClaim>,
    /// The issuer, whole.
    pub issuer: Option<String>,
    /// The value, whole.
    pub value: Option<String>,
    /// The instant against which the end is judged.
    pub now: SystemTime,
    /// Rows to skip.
    pub offset: u64,
    /// Rows to return at most.
    pub limit: u64,
}

/// Longest text that is searched by, in bytes: what an index of either database takes.
const MAX_TEXT: usize = 1024;

/// Whether both databases can keep and index this text: at most 1024 bytes, no control characters. PostgreSQL refuses NUL
/// and long index entries, and a refusal there would look like an outage.
#[must_use]
pub fn is_keepable(text: &str) -> bool {
    text.len() <= MAX_TEXT && !text.chars().any(char::is_control)
}

/// Which keys a listing shows. All conditions must hold; `None` does not restrict.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyQuery {
    /// Owner.
    pub user_id: Option<String>,
    /// Team.
    pub team_id: Option<String>,
    /// Organisation.
    pub organization_id: Option<String>,
    /// One key.
    pub token: Option<KeyHash>,
    /// Alias, whole, or a part of it if `substring`.
    pub alias: Option<String>,
    /// Whether `alias` may match anywhere, without regard to case.
    pub substring: bool,
    /// Live, expired, blocked or deleted; `None` shows all that are not deleted.
    pub status: Option<KeyStatus>,
    /// Order of the listing.
    pub sort: KeySort,
    /// Whether the order is reversed.
    pub descending: bool,
    /// Rows to skip.
    pub offset: u64,
    /// Rows to return at most.
    pub limit: u64,
    /// The instant against which expiry is judged.
    pub now: Option<SystemTime>,
}

/// LiteLLM's four words for the state of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStatus {
    /// Neither blocked, nor expired, nor deleted.
    Active,
    /// Past its end.
    Expired,
    /// Blocked.
    Revoked,
    /// Deleted.
    Deleted,
}

/// What a key listing can be ordered by. Ties are broken by the token, so that pages never overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeySort {
    /// Time of creation.
    #[default]
    CreatedAt,
    /// Time of the last write.
    UpdatedAt,
    /// End of life; keys without one come last.
    Expires,
    /// Name.
    Alias,
    /// Money spent.
    Spend,
}

/// Some rows of a longer listing.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The rows asked for.
    pub rows: Vec<T>,
    /// How many there are in all.
    pub total: u64,
}

/// Why the store did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A key of this hash exists or existed.
    #[error("a key with this value exists already")]
    TokenTaken,
    /// A live key has this alias.
    #[error("a key with this alias exists already")]
    AliasTaken,
    /// A user or a team of this id exists.
    #[error("the id is taken")]
    IdTaken,
    /// The row was written by somebody else since it was read, or is gone. Read it again and decide again.
    #[error("the row has changed since it was read")]
    Conflict,
    /// The deny list holds as many entries as every process can be asked to keep in memory.
    #[error("the deny list is full")]
    DenyListFull,
    /// The store cannot be asked, or did not answer in time.
    #[error("store unavailable: {0}")]
    Unavailable(String),
}

/// The management side of a store.
///
/// A write returns only after it is committed and after this process forgot the keys it touched, or knows the denial;
/// other processes learn of it within a second.
#[async_trait]
pub trait AdminStore: Send + Sync + 'static {
    /// Stores a new key. [`StoreError::TokenTaken`] or [`StoreError::AliasTaken`] if it cannot be.
    async fn insert_key(&self, row: KeyRow, audit: AuditRow) -> Result<KeyRow, StoreError>;

    /// The key of this hash, deleted or not.
    async fn key(&self, token: KeyHash) -> Result<Option<KeyRow>, StoreError>;

    /// The hash now in force of a key that had this one before a rotation, whatever became of the grace period.
    async fn successor(&self, old: KeyHash) -> Result<Option<KeyHash>, StoreError>;

    /// The live key of this alias.
    async fn key_by_alias(&self, alias: &str) -> Result<Option<KeyRow>, StoreError>;

    /// Replaces the row of the same token if its version is still `row.version`, and returns it as stored (with the next
    /// version). Blocking, updating and deleting (by `deleted_at`) are all this. Deleting ends grace periods as well.
    async fn replace_key(&self, row: KeyRow, audit: AuditRow) -> Result<KeyRow, StoreError>;

    /// Gives the key a new string; the row moves to the new hash. The old hash works until `grace_until`, as do hashes
    /// within a grace period of their own.
    async fn rotate_key(&self, rotation: Rotation, audit: AuditRow) -> Result<KeyRow, StoreError>;

    /// The rotation of `old` that the request with this hash of its idempotency key made before, if it did.
    async fn replay(&self, old: KeyHash, request: [u8; 32]) -> Result<Option<Replay>, StoreError>;

    /// A page of keys.
    async fn keys(&self, query: &KeyQuery) -> Result<Page<KeyRow>, StoreError>;

    /// A page of the aliases of live keys, in order, without repetition; `search` matches anywhere.
    async fn aliases(
        &self,
        search: Option<&str>,
        team_id: Option<&str>,
        offset: u64,
        limit: u64,
    ) -> Result<Page<String>, StoreError>;

    /// Stores a new team with its members. [`StoreError::IdTaken`] if there is one of its id.
    async fn insert_team(&self, row: TeamRow, audit: AuditRow) -> Result<TeamRow, StoreError>;

    /// The team of this id, with its members.
    async fn team(&self, team_id: &str) -> Result<Option<TeamRow>, StoreError>;

    /// Replaces the team of the same id if its version is still `row.version`, and does `changes` to its members; returns
    /// it as stored. Who is among `row.members` decides nothing.
    async fn replace_team(
        &self,
        row: TeamRow,
        changes: Vec<MemberChange>,
        audit: AuditRow,
    ) -> Result<TeamRow, StoreError>;

    /// Ends a team that still has the version of `row`: its memberships, and every live key of it, which counts as deleted
    /// at `row.updated_at` by `row.updated_by`.
    async fn delete_team(&self, row: TeamRow, audit: AuditRow) -> Result<(), StoreError>;

    /// A page of teams with their members, the newest first.
    async fn teams(&self, query: &TeamQuery) -> Result<Page<TeamRow>, StoreError>;

    /// Stores a new user. [`StoreError::IdTaken`] if there is one of their id.
    async fn insert_user(&self, row: UserRow, audit: AuditRow) -> Result<UserRow, StoreError>;

    /// The user of this id.
    async fn user(&self, user_id: &str) -> Result<Option<UserRow>, StoreError>;

    /// Replaces the user of the same id if their version is still `row.version`, and returns them as stored.
    async fn replace_user(&self, row: UserRow, audit: AuditRow) -> Result<UserRow, StoreError>;

    /// Ends a user who still has the version of `row`: their memberships, and every live key of theirs, which counts as
    /// deleted at `row.updated_at` by `row.updated_by`.
    async fn delete_user(&self, row: UserRow, audit: AuditRow) -> Result<(), StoreError>;

    /// A page of users, the newest first.
    async fn users(&self, query: &UserQuery) -> Result<Page<UserRow>, StoreError>;

    /// The denial of this name, in force or not.
    async fn denial(&self, claim: DeniedClaim, issuer: &str, value: &str) -> Result<Option<DenialRow>, StoreError>;

    /// Stores a denial over the one of the same name, if that is still of the write `row.epoch`, and returns it as stored.
    /// Texts must be [keepable](is_keepable). [`StoreError::Conflict`], [`StoreError::DenyListFull`].
    async fn put_denial(&self, row: DenialRow, audit: AuditRow) -> Result<DenialRow, StoreError>;

    /// A page of the denials in force, the newest write first.
    async fn denials(&self, query: &DenialQuery) -> Result<Page<DenialRow>, StoreError>;

    /// A page of the audit log, newest first; all conditions must hold.
    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditRow>, StoreError>;

    /// Whether the store answers now.
    async fn ready(&self) -> Result<(), StoreError>;
}

/// Which audit rows are shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditQuery {
    /// One row.
    pub id: Option<i64>,
    /// Which thing.
    pub object_id: Option<String>,
    /// Which action.
    pub action: Option<String>,
    /// Which actor.
    pub actor: Option<String>,
    /// Rows to skip.
    pub offset: u64,
    /// Rows to return at most.
    pub limit: u64,
}
