//! One run of an import: row by row what is new, what has changed, and what must stay as it is here.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use portcullis_admin_api::store::{
    AdminStore, AuditRow, KeyRow, MemberChange, Rotation, StoreError, TeamMember, TeamRow, UserRow,
};
use portcullis_filters::authn::virtual_key::KeyHash;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::litellm::{self, Budgets, Document, PAGE, Source, moment, text};
use super::report::{Outcome, Report};
use crate::store::{ImportMark, ImportWrite, Store};

/// Who did it, in rows and in the audit log.
const ACTOR: &str = "import litellm";

/// So many keys may be gone whatever their share of all is.
const FEW: usize = 10;

/// New keys in one transaction.
const BATCH: usize = 200;

const KEYS: &str = "LiteLLM_VerificationToken";
const REPLACED: &str = "LiteLLM_DeprecatedVerificationToken";

/// The team of the sessions of LiteLLM's UI.
const SESSIONS: &str = "litellm-dashboard";

/// Whom LiteLLM takes its master key for.
const OPERATOR: &str = "default_user_id";

/// One run.
pub(super) struct Import<'a> {
    pub(super) source: &'a Source,
    pub(super) store: &'a Store,
    pub(super) dry_run: bool,
    /// Whether most of the keys may be deleted at once.
    pub(super) delete_many: bool,
    pub(super) report: &'a mut Report,
    /// Teams and users of the source that are not here: a key of theirs would lose what bounds it.
    pub(super) refused: HashSet<String>,
}

type NewKey = (KeyRow, ImportMark, AuditRow);

/// What a row here is to the row that it was made from.
enum Known {
    /// It was taken over, and nobody changed it here since.
    Ours(ImportMark),
    /// It is not the import's to change; why.
    Theirs(&'static str),
}

impl Import<'_> {
    /// Users and teams before the keys that they bound; keys that are gone before new ones that may have their names.
    pub(super) async fn run(&mut self) -> Result<()> {
        let source = self.source;
        let budgets = source.budgets().await?;
        source.each("LiteLLM_UserTable", "user_id", async |row| self.user(&row, &budgets).await).await?;
        source.each("LiteLLM_TeamTable", "team_id", async |row| self.team(&row, &budgets).await).await?;
        self.gone_keys(&budgets).await?;
        self.keys(&budgets).await?;
        self.replaced_strings().await?;
        for (table, why) in [
            ("LiteLLM_OrganizationTable", "organisations are not kept here yet"),
            ("LiteLLM_ProjectTable", "projects are not kept here"),
            ("LiteLLM_EndUserTable", "customers have no rows here"),
            ("LiteLLM_ObjectPermissionTable", "they are about vector stores and MCP servers"),
            ("LiteLLM_JWTKeyMapping", "a token is not exchanged for a key here"),
            ("LiteLLM_ProxyModelTable", "deployments are in the configuration; keys of providers are encrypted there"),
            ("LiteLLM_CredentialsTable", "credentials of providers are in the configuration"),
        ] {
            let rows = self.source.count(table).await?;
            self.report.not_taken(table, rows, why);
        }
        Ok(())
    }

    async fn user(&mut self, row: &Document, budgets: &Budgets) -> Result<()> {
        let id = text(row, "user_id").unwrap_or_default();
        if id == OPERATOR {
            self.report.because("user", Outcome::Refused, &id, "LiteLLM's word for its master key is nobody here");
            return Ok(());
        }
        let user = match litellm::user(row, budgets) {
            Ok(user) => user,
            Err(why) => {
                self.report.because("user", Outcome::Refused, &id, &why);
                self.refused.insert(format!("user {id}"));
                return Ok(());
            }
        };
        let mark = mark(&id, user_print(&user), user.spend);
        let Some(here) = self.admin().user(&id).await? else {
            if self.was_deleted_here("user", &id).await? {
                return Ok(());
            }
            let audit = audit("created", "user", &id, json!({ "user_role": user.role }));
            return self.write("user", Outcome::New, ImportWrite::NewUser(user), &mark, 0.0, &audit).await;
        };
        let known = self.known("user", &id, user_print(&here)).await?;
        let write = |here: UserRow| {
            let kept =
                UserRow { version: here.version, created_at: here.created_at, created_by: here.created_by, ..user };
            ImportWrite::User(UserRow {
                sets_spend: false,
                budget_reset_at: here.budget_reset_at.or(kept.budget_reset_at),
                ..written(kept)
            })
        };
        self.follow("user", mark, known, || write(here)).await
    }

    async fn team(&mut self, row: &Document, budgets: &Budgets) -> Result<()> {
        let id = text(row, "team_id").unwrap_or_default();
        if id == SESSIONS {
            return Ok(());
        }
        let memberships = self.source.memberships(&id).await?;
        let team = match litellm::team(row, &memberships, budgets) {
            Ok(team) => team,
            Err(why) => {
                self.report.because("team", Outcome::Refused, &id, &why);
                self.refused.insert(format!("team {id}"));
                return Ok(());
            }
        };
        let mark = mark(&id, team_print(&team), team.spend);
        let Some(here) = self.admin().team(&id).await? else {
            if self.was_deleted_here("team", &id).await? {
                return Ok(());
            }
            let audit = audit("created", "team", &id, json!({ "team_alias": team.team_alias, "models": team.models }));
            return self.write("team", Outcome::New, ImportWrite::NewTeam(team), &mark, 0.0, &audit).await;
        };
        let known = self.known("team", &id, team_print(&here)).await?;
        let write = |here: TeamRow| {
            let changes = member_changes(&here.members, &team.members);
            let reset = here.budget_reset_at.or(team.budget_reset_at);
            let kept =
                TeamRow { version: here.version, created_at: here.created_at, created_by: here.created_by, ..team };
            let by = Some(ACTOR.to_owned());
            let row = TeamRow { sets_spend: false, budget_reset_at: reset, updated_at: now(), updated_by: by, ..kept };
            ImportWrite::Team(row, changes)
        };
        self.follow("team", mark, known, || write(here)).await
    }

    async fn keys(&mut self, budgets: &Budgets) -> Result<()> {
        let (source, mut new) = (self.source, Vec::<NewKey>::new());
        let take = async |row: Document| {
            new.extend(self.key(&row, budgets).await?);
            if new.len() >= BATCH { self.insert(std::mem::take(&mut new)).await } else { Ok(()) }
        };
        source.each(KEYS, "token", take).await?;
        self.insert(new).await
    }

    /// A key that is to be made, unless there is nothing to make.
    async fn key(&mut self, row: &Document, budgets: &Budgets) -> Result<Option<NewKey>> {
        let id = text(row, "token").unwrap_or_default();
        if text(row, "team_id").as_deref() == Some(SESSIONS) {
            self.report.count("session", Outcome::Refused);
            return Ok(None);
        }
        let key = match litellm::key(row, budgets) {
            Ok(key) => key,
            Err(why) => {
                // What is no hash may be a key string.
                let what = if id.parse::<KeyHash>().is_ok() { &*id } else { "without a hash" };
                self.report.because("key", Outcome::Refused, what, &why);
                return Ok(None);
            }
        };
        let bounds = [("team", &key.team_id), ("user", &key.user_id)];
        let lost = bounds
            .into_iter()
            .find(|(kind, of)| of.as_ref().is_some_and(|of| self.refused.contains(&format!("{kind} {of}"))));
        if let Some((kind, _)) = lost {
            self.report.because("key", Outcome::Refused, &id, &format!("its {kind} was not taken, and bounds it"));
            return Ok(None);
        }
        let mark = mark(&id, key_print(&key), key.spend);
        let Some(here) = self.admin().key(key.token).await? else {
            if self.admin().successor(key.token).await?.is_some() {
                self.report.because("key", Outcome::Kept, &id, "it has another string here");
                return Ok(None);
            }
            let audit = audit("created", "key", &id, key_shown(&key));
            return Ok(Some((key, mark, audit)));
        };
        if here.deleted_at.is_some() {
            self.report.because("key", Outcome::Kept, &id, "it was deleted here");
            return Ok(None);
        }
        let known = self.known("key", &id, key_print(&here)).await?;
        let write = |here: KeyRow| ImportWrite::Key(over(here, key));
        self.follow("key", mark, known, || write(here)).await.map(|()| None)
    }

    /// All of a batch at once; where one of them cannot be made, one by one.
    async fn insert(&mut self, keys: Vec<NewKey>) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        if self.dry_run {
            keys.iter().for_each(|_| self.report.count("key", Outcome::New));
            return Ok(());
        }
        match self.store.import_keys(keys.clone()).await {
            Ok(()) => {
                keys.iter().for_each(|_| self.report.count("key", Outcome::New));
                return Ok(());
            }
            Err(StoreError::Unavailable(why)) => anyhow::bail!("our own database: {why}"),
            Err(_) => {}
        }
        for (row, mark, audit) in keys {
            self.write("key", Outcome::New, ImportWrite::NewKey(row), &mark, 0.0, &audit).await?;
        }
        Ok(())
    }

    /// Keys that were taken over and are not there any more: replaced there, or deleted.
    async fn gone_keys(&mut self, budgets: &Budgets) -> Result<()> {
        let (mut after, mut gone, mut known) = (String::new(), Vec::new(), 0);
        loop {
            let marks = self.store.import_marks("key", &after, PAGE as u32).await?;
            let Some(last) = marks.last() else { break };
            after.clone_from(&last.object_id);
            let ids: Vec<String> = marks.iter().map(|mark| mark.object_id.clone()).collect();
            let there = self.source.those_of(KEYS, "token", &ids).await?;
            for mark in marks {
                let Some(token) = mark.object_id.parse::<KeyHash>().ok() else { continue };
                let lives = self.admin().key(token).await?.is_some_and(|row| row.deleted_at.is_none());
                known += usize::from(lives);
                if lives && !there.contains(&mark.object_id) {
                    gone.push(mark);
                }
            }
        }
        // A database that was emptied, or is another one, must not end everybody's keys.
        if gone.len() > FEW.min(known.saturating_sub(1)) && gone.len() * 2 > known && !self.delete_many {
            let why = "most keys are gone there: if that is meant, say --delete-many";
            gone.iter().for_each(|mark| self.report.because("key", Outcome::Kept, &mark.object_id, why));
            return Ok(());
        }
        for mark in gone {
            self.gone(&mark, budgets).await?;
        }
        Ok(())
    }

    /// Whoever deleted here what was taken over wants it to stay so.
    async fn was_deleted_here(&mut self, kind: &'static str, id: &str) -> Result<bool> {
        let is_marked = self.store.import_mark(kind, id).await?.is_some();
        if is_marked {
            self.report.because(kind, Outcome::Kept, id, "it was deleted here");
        }
        Ok(is_marked)
    }

    async fn gone(&mut self, mark: &ImportMark, budgets: &Budgets) -> Result<()> {
        let id = &mark.object_id;
        let Ok(token) = id.parse::<KeyHash>() else { return Ok(()) };
        let Some(here) = self.admin().key(token).await?.filter(|row| row.deleted_at.is_none()) else { return Ok(()) };
        if key_print(&here) != mark.fingerprint {
            self.report.because("key", Outcome::Kept, id, "it is gone there, and was changed here");
            return Ok(());
        }
        let now = now();
        let replaced = self.replacement(id, budgets).await?;
        let (row, until) = match replaced {
            Some((row, until)) => (row, until),
            None => {
                let by = Some(ACTOR.to_owned());
                let row =
                    KeyRow { deleted_at: Some(now), deleted_by: by.clone(), updated_at: now, updated_by: by, ..here };
                let audit = audit("deleted", "key", id, Value::Null);
                return self.write("key", Outcome::Deleted, ImportWrite::Key(row), mark, 0.0, &audit).await;
            }
        };
        let new = ImportMark { object_id: row.token.to_string(), fingerprint: key_print(&row), spend: row.spend };
        let audit = audit("rotated", "key", id, key_shown(&row));
        let row = KeyRow { token: row.token, ..over(here, row) };
        let rotation = Rotation { old: token, row, grace_until: until.filter(|until| *until > now), replay: None };
        self.write("key", Outcome::Changed, ImportWrite::Rotation(rotation), &new, 0.0, &audit).await
    }

    /// The key that this string was replaced by there, and until when it works on.
    async fn replacement(&self, id: &str, budgets: &Budgets) -> Result<Option<(KeyRow, Option<SystemTime>)>> {
        let Some(replaced) = self.source.row(REPLACED, "token", id).await? else { return Ok(None) };
        let Some(active) = text(&replaced, "active_token_id") else { return Ok(None) };
        let row = self.source.row(KEYS, "token", &active).await?.and_then(|row| litellm::key(&row, budgets).ok());
        Ok(row.map(|row| (row, moment(&replaced, "revoke_at").ok().flatten())))
    }

    /// Strings that were replaced there before the first run, and go on working for a while.
    async fn replaced_strings(&mut self) -> Result<()> {
        let source = self.source;
        source.each(REPLACED, "token", async |row| self.replaced_string(&row).await).await
    }

    async fn replaced_string(&mut self, row: &Document) -> Result<()> {
        let hash = |name| text(row, name).and_then(|text| text.parse::<KeyHash>().ok());
        let until = moment(row, "revoke_at").ok().flatten().filter(|until| *until > now());
        let (Some(old), Some(active), Some(until)) = (hash("token"), hash("active_token_id"), until) else {
            return Ok(());
        };
        let is_new = match self.dry_run {
            true => self.admin().successor(old).await?.is_none(),
            false => self.store.import_grace(old, active, until).await?,
        };
        self.report.count("old key", if is_new { Outcome::New } else { Outcome::Unchanged });
        Ok(())
    }

    async fn known(&self, kind: &str, id: &str, print_here: [u8; 32]) -> Result<Known> {
        Ok(match self.store.import_mark(kind, id).await? {
            None => Known::Theirs("there is another of its id here, which was not taken over"),
            Some(mark) if mark.fingerprint == print_here => Known::Ours(mark),
            Some(_) => Known::Theirs("it was changed here since"),
        })
    }

    /// Brings a row that was taken over before up to date.
    async fn follow(
        &mut self,
        kind: &'static str,
        mark: ImportMark,
        known: Known,
        write: impl FnOnce() -> ImportWrite,
    ) -> Result<()> {
        let last = match known {
            Known::Ours(last) => last,
            Known::Theirs(why) => {
                self.report.because(kind, Outcome::Kept, &mark.object_id, why);
                return Ok(());
            }
        };
        // Less than before: it began anew there, and all of it is new.
        let more = if mark.spend >= last.spend { mark.spend - last.spend } else { mark.spend };
        if mark.fingerprint != last.fingerprint {
            let audit = audit("updated", kind, &mark.object_id, Value::Null);
            return self.write(kind, Outcome::Changed, write(), &mark, more, &audit).await;
        }
        if mark.spend != last.spend && !self.dry_run {
            self.store.import_spend(kind, &mark, more).await?;
        }
        self.report.count(kind, Outcome::Unchanged);
        Ok(())
    }

    async fn write(
        &mut self,
        kind: &'static str,
        outcome: Outcome,
        write: ImportWrite,
        mark: &ImportMark,
        more: f64,
        audit: &AuditRow,
    ) -> Result<()> {
        let done = if self.dry_run { Ok(()) } else { self.store.import(write, mark, more, audit).await };
        match done {
            Ok(()) => self.report.count(kind, outcome),
            Err(StoreError::Unavailable(why)) => anyhow::bail!("our own database: {why}"),
            Err(StoreError::Conflict) => {
                self.report.because(kind, Outcome::Kept, &mark.object_id, "somebody else is changing it");
            }
            Err(error) => self.report.because(kind, Outcome::Refused, &mark.object_id, &error.to_string()),
        }
        Ok(())
    }

    fn admin(&self) -> std::sync::Arc<dyn AdminStore> {
        self.store.admin()
    }
}

/// The key as it is there, over the one here: what it spent, how often it was replaced and who made it stay.
fn over(here: KeyRow, there: KeyRow) -> KeyRow {
    let begins_anew = here.settings.get("budget_duration") != there.settings.get("budget_duration");
    KeyRow {
        token: here.token,
        version: here.version,
        spend: here.spend,
        sets_spend: false,
        budget_reset_at: if begins_anew { there.budget_reset_at } else { here.budget_reset_at },
        rotation_count: here.rotation_count.max(there.rotation_count),
        created_at: here.created_at,
        created_by: here.created_by,
        updated_at: now(),
        updated_by: Some(ACTOR.to_owned()),
        ..there
    }
}

fn written(row: UserRow) -> UserRow {
    UserRow { updated_at: now(), updated_by: Some(ACTOR.to_owned()), ..row }
}

fn member_changes(here: &[TeamMember], there: &[TeamMember]) -> Vec<MemberChange> {
    let of = |members: &[TeamMember], id: &str| members.iter().find(|member| member.user_id == id).map(member_print);
    let put = there.iter().filter(|member| of(here, &member.user_id) != Some(member_print(member)));
    let put = put.map(|member| MemberChange::Put(TeamMember { sets_spend: false, ..member.clone() }));
    let gone = here.iter().filter(|member| of(there, &member.user_id).is_none());
    put.chain(gone.map(|member| MemberChange::Remove(member.user_id.clone()))).collect()
}

fn mark(id: &str, fingerprint: [u8; 32], spend: f64) -> ImportMark {
    ImportMark { object_id: id.to_owned(), fingerprint, spend }
}

/// Of all that an import writes but what changes by itself.
fn key_print(row: &KeyRow) -> [u8; 32] {
    let KeyRow { key_name, key_alias, user_id, team_id, organization_id, models, allowed_routes, .. } = row;
    let expires = row.expires.and_then(|end| end.duration_since(UNIX_EPOCH).ok()).map(|end| end.as_micros() as u64);
    print(&json!([
        key_name,
        key_alias,
        user_id,
        team_id,
        organization_id,
        models,
        allowed_routes,
        row.aliases,
        expires,
        row.blocked,
        row.settings
    ]))
}

fn user_print(row: &UserRow) -> [u8; 32] {
    print(&json!([row.user_email, row.user_alias, row.role, row.models, row.settings]))
}

fn team_print(row: &TeamRow) -> [u8; 32] {
    let members: Vec<Value> = row.members.iter().map(member_print).collect();
    print(&json!([row.team_alias, row.organization_id, row.models, row.blocked, row.settings, members]))
}

fn member_print(member: &TeamMember) -> Value {
    json!([member.user_id, member.user_email, member.role.name(), member.settings])
}

fn print(value: &Value) -> [u8; 32] {
    Sha256::digest(value.to_string().as_bytes()).into()
}

fn key_shown(row: &KeyRow) -> Value {
    json!({ "key_alias": row.key_alias, "user_id": row.user_id, "team_id": row.team_id, "models": row.models })
}

fn audit(action: &str, kind: &str, id: &str, after: Value) -> AuditRow {
    AuditRow {
        id: 0,
        at: now(),
        actor: ACTOR.to_owned(),
        changed_by: None,
        source: None,
        request_id: None,
        action: action.to_owned(),
        object_type: kind.to_owned(),
        object_id: id.to_owned(),
        before: Value::Null,
        after,
    }
}

fn now() -> SystemTime {
    SystemTime::now()
}
