//! What is taken over from another gateway's database: each row with a mark of what was written for it, in one
//! transaction, so that a second run knows what it did and what was changed here since.

use std::time::SystemTime;

use portcullis_admin_api::store::{AuditRow, KeyRow, MemberChange, Rotation, StoreError, TeamRow, UserRow};
use portcullis_filters::authn::virtual_key::KeyHash;

use super::change::Change;
use super::statement::imports;
use super::usage::Account;
use super::{Lane, Store, row};

/// What was written for a row of the source.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportMark {
    /// The id of the row.
    pub object_id: String,
    /// Of what was written.
    pub fingerprint: [u8; 32],
    /// What it had spent there by then, in US dollars.
    pub spend: f64,
}

/// One write of an import.
#[derive(Clone, Debug)]
pub enum ImportWrite {
    /// A key that is not here yet.
    NewKey(KeyRow),
    /// Other values for a key.
    Key(KeyRow),
    /// Another string for a key.
    Rotation(Rotation),
    /// A team that is not here yet.
    NewTeam(TeamRow),
    /// Other values for a team, and for its members.
    Team(TeamRow, Vec<MemberChange>),
    /// A user who is not here yet.
    NewUser(UserRow),
    /// Other values for a user.
    User(UserRow),
}

impl Store {
    /// What was written for this row, if it was taken over.
    ///
    /// # Errors
    /// The database is away.
    pub async fn import_mark(&self, object_type: &str, object_id: &str) -> Result<Option<ImportMark>, StoreError> {
        let found = self.0.read(imports::marked(object_type, object_id), row::import_mark, Lane::Admin).await?;
        Ok(found.into_iter().next())
    }

    /// What was taken over, in pages in the order of the ids.
    ///
    /// # Errors
    /// The database is away.
    pub async fn import_marks(
        &self,
        object_type: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<ImportMark>, StoreError> {
        self.0.read(imports::page(object_type, after, i64::from(limit)), row::import_mark, Lane::Admin).await
    }

    /// Writes a row with its mark; `more` is what it has spent at the source since the last time.
    ///
    /// # Errors
    /// As the writes of the management API.
    pub async fn import(
        &self,
        write: ImportWrite,
        mark: &ImportMark,
        more: f64,
        audit: &AuditRow,
    ) -> Result<(), StoreError> {
        let mark_of = |kind| imports::mark(kind, &mark.object_id, mark.fingerprint, mark.spend);
        match write {
            ImportWrite::NewKey(row) => self.0.write(Change::insert(row, audit).with(mark_of("key"))).await.map(drop),
            ImportWrite::Key(row) => {
                let account = Account::Key(row.token);
                let change = Change::replace(row, audit).with(mark_of("key")).charging(&account, more);
                self.0.write(change).await.map(drop)
            }
            ImportWrite::Rotation(rotation) => {
                self.0.write(Change::rotate(rotation, audit).with(mark_of("key"))).await.map(drop)
            }
            ImportWrite::NewTeam(row) => {
                self.0.write(Change::insert_team(row, audit).with(mark_of("team"))).await.map(drop)
            }
            ImportWrite::Team(row, members) => {
                let (account, known_as) = (Account::Team(row.team_id.clone()), row.team_alias.clone());
                let change = Change::replace_team(row, &known_as, &members, audit);
                self.0.write(change.with(mark_of("team")).charging(&account, more)).await.map(drop)
            }
            ImportWrite::NewUser(row) => {
                self.0.write(Change::insert_user(row, audit).with(mark_of("user"))).await.map(drop)
            }
            ImportWrite::User(row) => {
                let account = Account::User(row.user_id.clone());
                let change = Change::replace_user(row, audit).with(mark_of("user")).charging(&account, more);
                self.0.write(change).await.map(drop)
            }
        }
    }

    /// What a row has spent at the source since the last time; no write of the row.
    ///
    /// # Errors
    /// The database is away.
    pub async fn import_spend(&self, object_type: &str, mark: &ImportMark, more: f64) -> Result<(), StoreError> {
        let id = || mark.object_id.clone();
        let account = match object_type {
            "user" => Account::User(id()),
            "team" => Account::Team(id()),
            _ => match mark.object_id.parse() {
                Ok(token) => Account::Key(token),
                Err(_) => return Ok(()),
            },
        };
        let note = imports::mark(object_type, &mark.object_id, mark.fingerprint, mark.spend);
        self.0.write(Change::charge(&account, more).with(note)).await
    }

    /// New keys, all of them or none.
    ///
    /// # Errors
    /// As one of them by itself.
    pub async fn import_keys(&self, keys: Vec<(KeyRow, ImportMark, AuditRow)>) -> Result<(), StoreError> {
        let each = keys.into_iter().map(|(row, mark, audit)| {
            Change::insert(row, &audit).with(imports::mark("key", &mark.object_id, mark.fingerprint, mark.spend))
        });
        match Change::all(each) {
            Some(all) => self.0.write(all).await,
            None => Ok(()),
        }
    }

    /// A replaced string that goes on working until then; whether it was not known here.
    ///
    /// # Errors
    /// The database is away.
    pub async fn import_grace(&self, old: KeyHash, active: KeyHash, until: SystemTime) -> Result<bool, StoreError> {
        match self.0.write(Change::grace(imports::grace(old, active, until), old)).await {
            Ok(()) => Ok(true),
            Err(StoreError::Conflict) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
