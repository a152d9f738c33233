//! A write as the list of statements that make it up: the same in both databases, one transaction each.
//!
//! Both backends take the epoch's lock before the first statement, so a write sees everything that earlier ones did and
//! nothing else happens in between. The audit row is one of the statements: it is committed with the write or not at all.

use std::time::SystemTime;
use std::vec::IntoIter;

use portcullis_admin_api::store::{
    AuditRow, DenialRow, KeyRow, MemberChange, Rotation, StoreError, TeamMember, TeamRow, UserRow,
};
use portcullis_filters::authn::virtual_key::KeyHash;
use portcullis_filters::directory::{Enrolment, TeamName};

use super::invalidation::Touched;
use super::param::kept;
use super::statement::people::KeysOf;
use super::statement::{self, Statement, denials, people};
use super::usage::Account;
use super::{directory, enrolments};

/// A write under way, and what it is answered with.
pub(super) struct Change<T> {
    steps: Vec<Step>,
    /// What it is known to touch.
    pub(super) touched: Touched,
    /// Selects the hashes that it touches besides, as they are before its first step.
    pub(super) also: Option<Statement>,
    /// Makes the answer from the write's epoch.
    pub(super) answer: Box<dyn FnOnce(i64) -> T + Send>,
}

/// One statement of a write.
pub(super) struct Step {
    pub(super) statement: Statement,
    otherwise: Otherwise,
}

/// What happens if a statement returns no row.
enum Otherwise {
    /// Nothing: it may.
    GoOn,
    /// The next statement is left out.
    SkipNext,
    /// The whole write fails.
    Fail(StoreError),
}

impl Step {
    /// Draws the conclusion from a statement that returned no row; `rest` are the steps after this one.
    pub(super) fn found_nothing(self, rest: &mut IntoIter<Self>) -> Result<(), StoreError> {
        match self.otherwise {
            Otherwise::GoOn => Ok(()),
            Otherwise::SkipNext => {
                rest.next();
                Ok(())
            }
            Otherwise::Fail(error) => Err(error),
        }
    }
}

impl Change<KeyRow> {
    /// A new key.
    pub(super) fn insert(row: KeyRow, audit: &AuditRow) -> Self {
        let row = KeyRow { version: 1, ..as_kept(row) };
        let steps = vec![
            must(statement::never_rotated_away(row.token), StoreError::TokenTaken),
            must(statement::insert_key(&row), StoreError::Conflict),
            may(statement::insert_audit(audit)),
        ];
        Self::of_key(steps, vec![row.token], row.token, row)
    }

    /// Other values for a key that keeps its string.
    pub(super) fn replace(row: KeyRow, audit: &AuditRow) -> Self {
        let read = row.version;
        let row = KeyRow { version: read.saturating_add(1), ..as_kept(row) };
        let mut steps = vec![must(statement::update_key(row.token, read, &row), StoreError::Conflict)];
        steps.extend(row.deleted_at.map(|at| may(statement::end_grace(row.token, at))));
        steps.push(may(statement::insert_audit(audit)));
        Self::of_key(steps, vec![row.token], row.token, row)
    }

    /// Another string for a key. The database moves older grace hashes along to the new one.
    pub(super) fn rotate(rotation: Rotation, audit: &AuditRow) -> Self {
        let Rotation { old, row, grace_until, replay } = rotation;
        let read = row.version;
        let row = KeyRow { version: read.saturating_add(1), ..as_kept(row) };
        let mut steps = vec![
            must(statement::never_rotated_away(row.token), StoreError::TokenTaken),
            must(statement::update_key(old, read, &row), StoreError::Conflict),
            may(statement::insert_grace(old, row.token, grace_until.unwrap_or(row.updated_at))),
        ];
        steps.extend(replay.map(|replay| may(statement::insert_replay(old, &replay))));
        steps.push(may(statement::insert_audit(audit)));
        Self::of_key(steps, vec![old, row.token], old, row)
    }

    fn of_key(steps: Vec<Step>, touched: Vec<KeyHash>, active: KeyHash, row: KeyRow) -> Self {
        let row = KeyRow { sets_spend: false, ..row };
        let also = statement::grace_tokens(active);
        Self { steps, touched: Touched::Records(touched), also: Some(also), answer: Box::new(|_| row) }
    }
}

impl Change<TeamRow> {
    /// A new team and its members.
    pub(super) fn insert_team(row: TeamRow, audit: &AuditRow) -> Self {
        let row = TeamRow { version: 1, sets_spend: false, ..team_as_kept(row) };
        let mut steps = vec![must(people::insert_team(&row), StoreError::IdTaken)];
        steps.extend(row.members.iter().map(|member| may(people::put_member(&row.team_id, member))));
        steps.push(may(statement::insert_audit(audit)));
        let touched = Touched::Records(names_of(&row.team_id, [&row.team_alias]));
        Self { steps, touched, also: None, answer: Box::new(|_| row) }
    }

    /// Other values for a team, whose name was `known_as`, and changes to its members.
    pub(super) fn replace_team(
        row: TeamRow,
        known_as: &Option<String>,
        changes: &[MemberChange],
        audit: &AuditRow,
    ) -> Self {
        let read = row.version;
        let mut row = TeamRow { version: read.saturating_add(1), ..team_as_kept(row) };
        let mut steps = vec![must(people::update_team(read, &row), StoreError::Conflict)];
        let mut also = None;
        for change in changes {
            row.members.retain(|member| member.user_id != *change.user_id());
            match change {
                MemberChange::Put(member) => {
                    steps.push(may(people::put_member(&row.team_id, member)));
                    row.members.push(TeamMember { sets_spend: false, ..member.clone() });
                }
                MemberChange::Remove(user_id) => steps.push(may(people::remove_member(&row.team_id, user_id))),
                MemberChange::Expel(user_id) => {
                    let keys = KeysOf::Member(&row.team_id, user_id);
                    steps.push(may(people::remove_member(&row.team_id, user_id)));
                    steps.push(may(people::delete_keys(keys, row.updated_at, &row.updated_by)));
                    also = Some(people::hashes_of(keys));
                }
            }
        }
        row.members.sort_by(|one, other| one.user_id.cmp(&other.user_id));
        row.sets_spend = false;
        steps.push(may(statement::insert_audit(audit)));
        let touched = Touched::Records(names_of(&row.team_id, [&row.team_alias, known_as]));
        Self { steps, touched, also, answer: Box::new(|_| row) }
    }
}

impl Change<DenialRow> {
    /// A denial, over the one that was read.
    pub(super) fn deny(row: DenialRow, audit: &AuditRow) -> Self {
        let row = DenialRow {
            issued_until: row.issued_until.map(kept),
            until: kept(row.until),
            created_at: kept(row.created_at),
            allowed_at: row.allowed_at.map(kept),
            ..row
        };
        let write = if row.epoch == 0 { denials::insert(&row) } else { denials::update(&row) };
        let steps = vec![must(write, StoreError::Conflict), may(statement::insert_audit(audit))];
        let answer = Box::new(move |epoch| DenialRow { epoch, ..row });
        Self { steps, touched: Touched::DenyList, also: None, answer }
    }
}

impl Change<UserRow> {
    /// A new user.
    pub(super) fn insert_user(row: UserRow, audit: &AuditRow) -> Self {
        let row = UserRow { version: 1, ..user_as_kept(row) };
        Self::of_user(must(people::insert_user(&row), StoreError::IdTaken), row, audit)
    }

    /// Other values for a user.
    pub(super) fn replace_user(row: UserRow, audit: &AuditRow) -> Self {
        let read = row.version;
        let row = UserRow { version: read.saturating_add(1), ..user_as_kept(row) };
        Self::of_user(must(people::update_user(read, &row), StoreError::Conflict), row, audit)
    }

    fn of_user(write: Step, row: UserRow, audit: &AuditRow) -> Self {
        let steps = vec![write, may(statement::insert_audit(audit))];
        let touched = Touched::Records(vec![directory::user(&row.user_id)]);
        let row = UserRow { sets_spend: false, ..row };
        Self { steps, touched, also: None, answer: Box::new(|_| row) }
    }
}

impl Change<()> {
    /// The end of a user, their memberships and their keys.
    pub(super) fn delete_user(row: &UserRow, audit: &AuditRow) -> Self {
        Self {
            steps: vec![
                must(people::delete_user(&row.user_id, row.version), StoreError::Conflict),
                may(people::touch_teams_of(&row.user_id)),
                may(people::leave_teams(&row.user_id)),
                may(people::delete_keys(KeysOf::User(&row.user_id), row.updated_at, &row.updated_by)),
                may(statement::insert_audit(audit)),
            ],
            touched: Touched::Records(vec![directory::user(&row.user_id)]),
            also: Some(people::hashes_of(KeysOf::User(&row.user_id))),
            answer: Box::new(|_| ()),
        }
    }

    /// The end of a team, its memberships and its keys. The keys are many, perhaps: one statement for all of them.
    pub(super) fn delete_team(row: &TeamRow, audit: &AuditRow) -> Self {
        Self {
            steps: vec![
                must(people::delete_team(&row.team_id, row.version), StoreError::Conflict),
                may(people::delete_keys(KeysOf::Team(&row.team_id), row.updated_at, &row.updated_by)),
                may(statement::insert_audit(audit)),
            ],
            touched: Touched::Records(names_of(&row.team_id, [&row.team_alias])),
            also: Some(people::hashes_of(KeysOf::Team(&row.team_id))),
            answer: Box::new(|_| ()),
        }
    }

    /// Rows of users and teams that are not there yet, each with its audit row.
    pub(super) fn enrol(batch: &[Enrolment], at: SystemTime) -> Self {
        let each = |enrolment: &Enrolment| {
            let insert = Step { statement: people::enrol(enrolment, at), otherwise: Otherwise::SkipNext };
            [insert, may(statement::insert_audit(&enrolments::audit(enrolment, at)))]
        };
        let touched = batch.iter().map(directory::name_of).collect();
        Self {
            steps: batch.iter().flat_map(each).collect(),
            touched: Touched::Records(touched),
            also: None,
            answer: Box::new(|_| ()),
        }
    }
}

impl Change<()> {
    /// Several new rows in one transaction; `None`: there are none. Their conditions count one by one, and one that fails
    /// fails all.
    pub(super) fn all<T>(changes: impl IntoIterator<Item = Change<T>>) -> Option<Self> {
        let (mut steps, mut records) = (Vec::new(), Vec::new());
        for mut change in changes {
            steps.extend(change.take_steps());
            if let Touched::Records(touched) = change.touched {
                records.extend(touched);
            }
        }
        let touched = Touched::Records(records);
        (!steps.is_empty()).then(|| Self { steps, touched, also: None, answer: Box::new(|_| ()) })
    }

    /// What was spent elsewhere.
    pub(super) fn charge(account: &Account, dollars: f64) -> Self {
        let steps = vec![may(statement::usage::spend(account, dollars))];
        let touched = Touched::Records(vec![account.counted_as()]);
        Self { steps, touched, also: None, answer: Box::new(|_| ()) }
    }

    /// A replaced string that goes on working; [`StoreError::Conflict`] where it is known already.
    pub(super) fn grace(insert: Statement, old: KeyHash) -> Self {
        let steps = vec![must(insert, StoreError::Conflict)];
        Self { steps, touched: Touched::Records(vec![old]), also: None, answer: Box::new(|_| ()) }
    }
}

impl<T> Change<T> {
    /// The same, and this statement.
    pub(super) fn with(mut self, statement: Statement) -> Self {
        self.steps.push(may(statement));
        self
    }

    /// The same, and this much more spent.
    pub(super) fn charging(self, account: &Account, dollars: f64) -> Self {
        if dollars == 0.0 { self } else { self.with(statement::usage::spend(account, dollars)) }
    }

    /// The statements, once.
    pub(super) fn take_steps(&mut self) -> IntoIter<Step> {
        std::mem::take(&mut self.steps).into_iter()
    }
}

fn must(statement: Statement, otherwise: StoreError) -> Step {
    Step { statement, otherwise: Otherwise::Fail(otherwise) }
}

fn may(statement: Statement) -> Step {
    Step { statement, otherwise: Otherwise::GoOn }
}

/// The names under which a team is remembered.
fn names_of<const N: usize>(id: &str, aliases: [&Option<String>; N]) -> Vec<KeyHash> {
    let aliases = aliases.into_iter().flatten().map(|alias| directory::team(TeamName::Alias(alias)));
    std::iter::once(directory::team(TeamName::Id(id))).chain(aliases).collect()
}

fn user_as_kept(row: UserRow) -> UserRow {
    UserRow {
        budget_reset_at: row.budget_reset_at.map(kept),
        created_at: kept(row.created_at),
        updated_at: kept(row.updated_at),
        ..row
    }
}

fn team_as_kept(row: TeamRow) -> TeamRow {
    TeamRow {
        budget_reset_at: row.budget_reset_at.map(kept),
        created_at: kept(row.created_at),
        updated_at: kept(row.updated_at),
        ..row
    }
}

/// The row as it will be read back: times lose what is finer than a microsecond.
fn as_kept(row: KeyRow) -> KeyRow {
    KeyRow {
        expires: row.expires.map(kept),
        budget_reset_at: row.budget_reset_at.map(kept),
        last_rotation_at: row.last_rotation_at.map(kept),
        created_at: kept(row.created_at),
        updated_at: kept(row.updated_at),
        deleted_at: row.deleted_at.map(kept),
        ..row
    }
}
