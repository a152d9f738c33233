//! An in-memory store with two switches: it can be away, and it can let writes lose against imagined other writers.
//!
//! Reads let other requests run before they return, so that tests can have two requests in each other's way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use portcullis_admin_api::spend::{Call, CallQuery, Reports, Sum, SumQuery};
use portcullis_admin_api::store::{
    AdminStore, AuditQuery, AuditRow, DenialQuery, DenialRow, KeyQuery, KeyRow, KeyStatus, MemberChange, Page, Replay,
    Rotation, StoreError, TeamQuery, TeamRow, UserQuery, UserRow,
};
use portcullis_filters::authn::jwt::deny_list::DeniedClaim;
use portcullis_filters::authn::virtual_key::{KeyHash, KeyRecord, KeyStore, StoreUnavailable};
use portcullis_filters::directory::{Directory, Enrolment, TeamName, TeamRecord, UserRecord};
use portcullis_filters::policy::Policy;
use portcullis_filters::principal::Role;

#[derive(Default)]
pub(crate) struct Memory(Mutex<Tables>);

#[derive(Default)]
struct Tables {
    keys: BTreeMap<KeyHash, KeyRow>,
    graces: BTreeMap<KeyHash, (KeyHash, SystemTime)>,
    replays: BTreeMap<(KeyHash, [u8; 32]), Replay>,
    denials: BTreeMap<(&'static str, String, String), DenialRow>,
    teams: BTreeMap<String, TeamRow>,
    users: BTreeMap<String, UserRow>,
    audit: Vec<AuditRow>,
    away: bool,
    conflicts: u32,
}

impl Memory {
    pub(crate) fn go_away(&self) {
        self.0.lock().unwrap().away = true;
    }

    pub(crate) fn lose_writes(&self, times: u32) {
        self.0.lock().unwrap().conflicts = times;
    }

    pub(crate) fn row(&self, key: &str) -> Option<KeyRow> {
        self.0.lock().unwrap().keys.get(&KeyHash::of(key)).cloned()
    }

    pub(crate) fn audit_rows(&self) -> Vec<AuditRow> {
        self.0.lock().unwrap().audit.clone()
    }

    fn read<T>(&self, read: impl FnOnce(&mut Tables) -> T) -> Result<T, StoreError> {
        let mut tables = self.0.lock().unwrap();
        if tables.away { Err(StoreError::Unavailable("switched off".to_owned())) } else { Ok(read(&mut tables)) }
    }

    fn write<T>(&self, write: impl FnOnce(&mut Tables) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.read(|tables| {
            if tables.conflicts > 0 {
                tables.conflicts -= 1;
                return Err(StoreError::Conflict);
            }
            write(tables)
        })?
    }
}

impl Tables {
    fn alias_free(&self, row: &KeyRow, besides: KeyHash) -> Result<(), StoreError> {
        let Some(alias) = &row.key_alias else { return Ok(()) };
        let taken = |other: &KeyRow| {
            other.token != besides && other.deleted_at.is_none() && other.key_alias.as_ref() == Some(alias)
        };
        if self.keys.values().any(taken) { Err(StoreError::AliasTaken) } else { Ok(()) }
    }

    fn team(&self, row: &TeamRow) -> Result<&TeamRow, StoreError> {
        let stored = self.teams.get(&row.team_id).filter(|stored| stored.version == row.version);
        stored.ok_or(StoreError::Conflict)
    }

    fn user(&self, row: &UserRow) -> Result<&UserRow, StoreError> {
        let stored = self.users.get(&row.user_id).filter(|stored| stored.version == row.version);
        stored.ok_or(StoreError::Conflict)
    }

    fn delete_keys(&mut self, at: SystemTime, by: &Option<String>, theirs: impl Fn(&KeyRow) -> bool) {
        for key in self.keys.values_mut().filter(|key| key.deleted_at.is_none() && theirs(key)) {
            (key.deleted_at, key.deleted_by) = (Some(at), by.clone());
        }
    }

    fn record(&mut self, mut audit: AuditRow) {
        audit.id = self.audit.len() as i64 + 1;
        self.audit.push(audit);
    }
}

fn page<T>(rows: Vec<T>, offset: u64, limit: u64) -> Page<T> {
    let total = rows.len() as u64;
    Page { rows: rows.into_iter().skip(offset as usize).take(limit as usize).collect(), total }
}

/// Nothing was taken.
#[async_trait]
impl Reports for Memory {
    async fn sums(&self, _: &SumQuery) -> Result<Vec<Sum>, StoreError> {
        Ok(Vec::new())
    }

    async fn calls(&self, _: &CallQuery) -> Result<Vec<Call>, StoreError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl AdminStore for Memory {
    async fn insert_key(&self, row: KeyRow, audit: AuditRow) -> Result<KeyRow, StoreError> {
        self.write(|tables| {
            if tables.keys.contains_key(&row.token) || tables.graces.contains_key(&row.token) {
                return Err(StoreError::TokenTaken);
            }
            tables.alias_free(&row, row.token)?;
            tables.record(audit);
            tables.keys.insert(row.token, row.clone());
            Ok(row)
        })
    }

    async fn key(&self, token: KeyHash) -> Result<Option<KeyRow>, StoreError> {
        tokio::task::yield_now().await;
        self.read(|tables| tables.keys.get(&token).cloned())
    }

    async fn successor(&self, old: KeyHash) -> Result<Option<KeyHash>, StoreError> {
        self.read(|tables| tables.graces.get(&old).map(|(current, _)| *current))
    }

    async fn key_by_alias(&self, alias: &str) -> Result<Option<KeyRow>, StoreError> {
        let live = |row: &&KeyRow| row.deleted_at.is_none() && row.key_alias.as_deref() == Some(alias);
        self.read(|tables| tables.keys.values().find(live).cloned())
    }

    async fn replace_key(&self, mut row: KeyRow, audit: AuditRow) -> Result<KeyRow, StoreError> {
        self.write(|tables| {
            if tables.keys.get(&row.token).is_none_or(|stored| stored.version != row.version) {
                return Err(StoreError::Conflict);
            }
            tables.alias_free(&row, row.token)?;
            row.version += 1;
            tables.record(audit);
            tables.keys.insert(row.token, row.clone());
            Ok(row)
        })
    }

    async fn rotate_key(&self, rotation: Rotation, audit: AuditRow) -> Result<KeyRow, StoreError> {
        self.write(|tables| {
            let Rotation { old, mut row, grace_until, replay } = rotation;
            if tables.keys.contains_key(&row.token) {
                return Err(StoreError::TokenTaken);
            }
            if tables.keys.get(&old).is_none_or(|stored| stored.version != row.version) {
                return Err(StoreError::Conflict);
            }
            tables.alias_free(&row, old)?;
            row.version += 1;
            tables.record(audit);
            tables.keys.remove(&old);
            tables.keys.insert(row.token, row.clone());
            tables.graces.extend(grace_until.map(|until| (old, (row.token, until))));
            tables.replays.extend(replay.map(|replay| ((old, replay.request), replay)));
            Ok(row)
        })
    }

    async fn replay(&self, old: KeyHash, request: [u8; 32]) -> Result<Option<Replay>, StoreError> {
        let found = self.read(|tables| tables.replays.get(&(old, request)).cloned());
        tokio::task::yield_now().await;
        found
    }

    async fn keys(&self, query: &KeyQuery) -> Result<Page<KeyRow>, StoreError> {
        let shows = |row: &&KeyRow| {
            let alias = row.key_alias.as_deref().unwrap_or_default();
            query.team_id.as_ref().is_none_or(|team| row.team_id.as_ref() == Some(team))
                && query.user_id.as_ref().is_none_or(|user| row.user_id.as_ref() == Some(user))
                && query.token.is_none_or(|token| row.token == token)
                && query.alias.as_deref().is_none_or(|a| if query.substring { alias.contains(a) } else { alias == a })
                && (row.deleted_at.is_some() == (query.status == Some(KeyStatus::Deleted)))
        };
        self.read(|tables| page(tables.keys.values().filter(shows).cloned().collect(), query.offset, query.limit))
    }

    async fn aliases(
        &self,
        search: Option<&str>,
        _team_id: Option<&str>,
        offset: u64,
        limit: u64,
    ) -> Result<Page<String>, StoreError> {
        self.read(|tables| {
            let mut aliases: Vec<String> = tables.keys.values().filter_map(|row| row.key_alias.clone()).collect();
            aliases.retain(|alias| search.is_none_or(|part| alias.contains(part)));
            aliases.sort_unstable();
            page(aliases, offset, limit)
        })
    }

    async fn insert_team(&self, row: TeamRow, audit: AuditRow) -> Result<TeamRow, StoreError> {
        self.write(|tables| {
            if tables.teams.contains_key(&row.team_id) {
                return Err(StoreError::IdTaken);
            }
            tables.record(audit);
            tables.teams.insert(row.team_id.clone(), row.clone());
            Ok(row)
        })
    }

    async fn team(&self, team_id: &str) -> Result<Option<TeamRow>, StoreError> {
        self.read(|tables| tables.teams.get(team_id).cloned())
    }

    async fn replace_team(
        &self,
        mut row: TeamRow,
        changes: Vec<MemberChange>,
        audit: AuditRow,
    ) -> Result<TeamRow, StoreError> {
        self.write(|tables| {
            row.members = tables.team(&row)?.members.clone();
            for change in changes {
                row.members.retain(|member| member.user_id != *change.user_id());
                match change {
                    MemberChange::Put(member) => row.members.push(member),
                    MemberChange::Remove(_) => {}
                    MemberChange::Expel(user_id) => {
                        let theirs = |key: &KeyRow| {
                            key.team_id.as_ref() == Some(&row.team_id) && key.user_id.as_ref() == Some(&user_id)
                        };
                        tables.delete_keys(row.updated_at, &row.updated_by, theirs);
                    }
                }
            }
            row.members.sort_by(|one, other| one.user_id.cmp(&other.user_id));
            row.version += 1;
            tables.record(audit);
            tables.teams.insert(row.team_id.clone(), row.clone());
            Ok(row)
        })
    }

    async fn delete_team(&self, row: TeamRow, audit: AuditRow) -> Result<(), StoreError> {
        self.write(|tables| {
            tables.team(&row)?;
            tables.record(audit);
            tables.teams.remove(&row.team_id);
            tables.delete_keys(row.updated_at, &row.updated_by, |key| key.team_id.as_ref() == Some(&row.team_id));
            Ok(())
        })
    }

    async fn teams(&self, query: &TeamQuery) -> Result<Page<TeamRow>, StoreError> {
        let shows = |row: &&TeamRow| {
            let belongs = |user: &String| row.members.iter().any(|member| member.user_id == *user);
            query.team_id.as_ref().is_none_or(|id| row.team_id == *id)
                && (query.alias.is_none() || query.alias == row.team_alias)
                && (query.organization_id.is_none() || query.organization_id == row.organization_id)
                && query.user_id.as_ref().is_none_or(belongs)
        };
        self.read(|tables| {
            page(tables.teams.values().rev().filter(shows).cloned().collect(), query.offset, query.limit)
        })
    }

    async fn insert_user(&self, row: UserRow, audit: AuditRow) -> Result<UserRow, StoreError> {
        self.write(|tables| {
            if tables.users.contains_key(&row.user_id) {
                return Err(StoreError::IdTaken);
            }
            tables.record(audit);
            tables.users.insert(row.user_id.clone(), row.clone());
            Ok(row)
        })
    }

    async fn user(&self, user_id: &str) -> Result<Option<UserRow>, StoreError> {
        self.read(|tables| tables.users.get(user_id).cloned())
    }

    async fn replace_user(&self, mut row: UserRow, audit: AuditRow) -> Result<UserRow, StoreError> {
        self.write(|tables| {
            tables.user(&row)?;
            row.version += 1;
            tables.record(audit);
            tables.users.insert(row.user_id.clone(), row.clone());
            Ok(row)
        })
    }

    async fn delete_user(&self, row: UserRow, audit: AuditRow) -> Result<(), StoreError> {
        self.write(|tables| {
            tables.user(&row)?;
            tables.record(audit);
            tables.users.remove(&row.user_id);
            for team in tables.teams.values_mut() {
                team.members.retain(|member| member.user_id != row.user_id);
            }
            tables.delete_keys(row.updated_at, &row.updated_by, |key| key.user_id.as_ref() == Some(&row.user_id));
            Ok(())
        })
    }

    async fn users(&self, query: &UserQuery) -> Result<Page<UserRow>, StoreError> {
        let shows = |row: &&UserRow| {
            (query.email.is_none() || query.email == row.user_email) && (query.role.is_none() || query.role == row.role)
        };
        self.read(|tables| {
            page(tables.users.values().rev().filter(shows).cloned().collect(), query.offset, query.limit)
        })
    }

    async fn denial(&self, claim: DeniedClaim, issuer: &str, value: &str) -> Result<Option<DenialRow>, StoreError> {
        let found =
            self.read(|tables| tables.denials.get(&(claim.name(), issuer.to_owned(), value.to_owned())).cloned());
        tokio::task::yield_now().await;
        found
    }

    async fn put_denial(&self, mut row: DenialRow, audit: AuditRow) -> Result<DenialRow, StoreError> {
        self.write(|tables| {
            let name = (row.claim.name(), row.issuer.clone(), row.value.clone());
            if tables.denials.get(&name).map_or(0, |stored| stored.epoch) != row.epoch {
                return Err(StoreError::Conflict);
            }
            tables.record(audit);
            row.epoch = tables.audit.len() as i64;
            tables.denials.insert(name, row.clone());
            Ok(row)
        })
    }

    async fn denials(&self, query: &DenialQuery) -> Result<Page<DenialRow>, StoreError> {
        let shows = |row: &&DenialRow| {
            row.is_in_force(query.now)
                && query.claim.is_none_or(|claim| row.claim == claim)
                && query.issuer.as_ref().is_none_or(|issuer| row.issuer == *issuer)
                && query.value.as_ref().is_none_or(|value| row.value == *value)
        };
        self.read(|tables| {
            let mut rows: Vec<DenialRow> = tables.denials.values().filter(shows).cloned().collect();
            rows.sort_by_key(|row| std::cmp::Reverse(row.epoch));
            page(rows, query.offset, query.limit)
        })
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditRow>, StoreError> {
        let shows = |row: &&AuditRow| {
            query.id.is_none_or(|id| row.id == id)
                && query.object_id.as_ref().is_none_or(|object| row.object_id == *object)
                && query.action.as_ref().is_none_or(|action| row.action == *action)
                && query.actor.as_ref().is_none_or(|actor| row.actor == *actor)
        };
        self.read(|tables| page(tables.audit.iter().rev().filter(shows).cloned().collect(), query.offset, query.limit))
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.read(|_| ())
    }
}

impl Directory for Memory {
    fn user<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Arc<UserRecord>>, StoreUnavailable>> {
        Box::pin(async move {
            let row = self.read(|tables| tables.users.get(id).cloned());
            let row = row.map_err(|error| StoreUnavailable(error.to_string()))?;
            Ok(row.map(|row| {
                Arc::new(UserRecord {
                    policy: Policy::new(&row.models, &[], BTreeMap::new()),
                    id: row.user_id.into(),
                    role: row.role.as_deref().and_then(Role::named).unwrap_or_default(),
                    limits: None,
                })
            }))
        })
    }

    fn team<'a>(&'a self, name: TeamName<'a>) -> BoxFuture<'a, Result<Option<Arc<TeamRecord>>, StoreUnavailable>> {
        Box::pin(async move {
            let TeamName::Id(id) = name else { return Ok(None) };
            let row = self.read(|tables| tables.teams.get(id).cloned());
            let row = row.map_err(|error| StoreUnavailable(error.to_string()))?;
            Ok(row.map(|row| {
                Arc::new(TeamRecord {
                    policy: Policy::new(&row.models, &[], BTreeMap::new()),
                    id: row.team_id.into(),
                    alias: row.team_alias.map(Into::into),
                    organization_id: row.organization_id.map(Into::into),
                    blocked: row.blocked,
                    version: 1,
                    limits: None,
                    limits_members: false,
                })
            }))
        })
    }

    fn enrol(&self, _: Enrolment) {}
}

impl KeyStore for Memory {
    fn find(&self, hash: KeyHash) -> BoxFuture<'_, Result<Option<KeyRecord>, StoreUnavailable>> {
        Box::pin(async move {
            let found = self.read(|tables| {
                let current = tables.graces.get(&hash).map_or(hash, |(current, _)| *current);
                tables.keys.get(&current).filter(|row| row.deleted_at.is_none()).cloned()
            });
            let row = found.map_err(|error| StoreUnavailable(error.to_string()))?;
            Ok(row.map(|row| KeyRecord {
                id: row.token,
                alias: row.key_alias.map(Into::into),
                user_id: row.user_id.map(Into::into),
                team_id: row.team_id.map(Into::into),
                organization_id: row.organization_id.map(Into::into),
                policy: Policy::new(&row.models, &row.allowed_routes, row.aliases),
                expires: row.expires,
                blocked: row.blocked == Some(true),
                limits: None,
            }))
        })
    }
}
