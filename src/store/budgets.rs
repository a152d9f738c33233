//! Budgets that begin anew: what was spent is set to nothing when a budget's time is over, by whichever node comes first.

use std::time::SystemTime;

use portcullis_admin_api::duration::Span;
use portcullis_admin_api::store::{AuditRow, KeyRow, MemberChange, StoreError, TeamMember, TeamRow, UserRow};
use serde_json::{Map, Value, json};

use super::change::Change;
use super::statement::people;
use super::{Inner, Lane, Store, row, statement};

/// Who does it, in audit rows.
const ACTOR: &str = "budget_duration";

/// Budgets of one look at a kind. What is left is due at the next.
const BATCH: i64 = 500;

impl Store {
    /// Begins the budgets anew whose time is over; how many.
    ///
    /// # Errors
    /// The database is away; those that were begun by then are.
    pub async fn reset_budgets(&self, now: SystemTime) -> Result<usize, StoreError> {
        let mut begun = 0;
        for row in self.0.read(statement::due_budgets(now, BATCH), row::key_row, Lane::Admin).await? {
            begun += self.0.begin(key(row, now)).await?;
        }
        for row in self.0.read(people::due_users(now, BATCH), row::user_row, Lane::Admin).await? {
            begun += self.0.begin(user(row, now)).await?;
        }
        for row in self.0.read(people::due_teams(now, BATCH), row::team_row, Lane::Admin).await? {
            let members = self.0.read(people::members(&row.team_id), row::member, Lane::Admin).await?;
            let members = members.into_iter().map(|(_, member)| member).collect();
            begun += self.0.begin(team(row, members, now)).await?;
        }
        Ok(begun)
    }
}

impl Inner {
    /// How many budgets began: none where somebody else wrote the row meanwhile, perhaps for the same reason.
    async fn begin<T: Send + 'static>(&self, change: Change<T>) -> Result<usize, StoreError> {
        match self.write(change).await {
            Ok(_) => Ok(1),
            Err(StoreError::Conflict) => Ok(0),
            Err(error) => Err(error),
        }
    }
}

fn key(row: KeyRow, now: SystemTime) -> Change<KeyRow> {
    let audit = audit("key", row.token.to_string(), json!({ "spend": row.spend }), json!({ "spend": 0.0 }), now);
    let row = KeyRow {
        spend: 0.0,
        sets_spend: true,
        budget_reset_at: next_start(&row.settings, now),
        updated_at: now,
        updated_by: Some(ACTOR.to_owned()),
        ..row
    };
    Change::replace(row, &audit)
}

fn user(row: UserRow, now: SystemTime) -> Change<UserRow> {
    let audit = audit("user", row.user_id.clone(), json!({ "spend": row.spend }), json!({ "spend": 0.0 }), now);
    let row = UserRow {
        spend: 0.0,
        sets_spend: true,
        budget_reset_at: next_start(&row.settings, now),
        updated_at: now,
        updated_by: Some(ACTOR.to_owned()),
        ..row
    };
    Change::replace_user(row, &audit)
}

/// The team's budget, if it is over, and those of its members.
fn team(row: TeamRow, members: Vec<TeamMember>, now: SystemTime) -> Change<TeamRow> {
    let is_over = |end: Option<SystemTime>| end.is_some_and(|end| end <= now);
    let of_team = is_over(row.budget_reset_at);
    let changes: Vec<_> = members.iter().filter(|member| is_over(member.budget_reset_at)).map(anew(now)).collect();
    let fresh = |spend: fn(f64) -> f64| {
        let members = members.iter().filter(|member| is_over(member.budget_reset_at));
        let members = members.map(|member| (member.user_id.clone(), json!(spend(member.spend)))).collect();
        let own = of_team.then(|| ("spend".to_owned(), json!(spend(row.spend))));
        own.into_iter().chain([("spend_of_members".to_owned(), Value::Object(members))]).collect()
    };
    let audit = audit("team", row.team_id.clone(), fresh(|spent| spent), fresh(|_| 0.0), now);
    let row = TeamRow { members, updated_at: now, updated_by: Some(ACTOR.to_owned()), ..row };
    let row = match of_team {
        true => TeamRow { spend: 0.0, sets_spend: true, budget_reset_at: next_start(&row.settings, now), ..row },
        false => row,
    };
    let known_as = row.team_alias.clone();
    Change::replace_team(row, &known_as, &changes, &audit)
}

fn anew(now: SystemTime) -> impl Fn(&TeamMember) -> MemberChange {
    move |member| {
        MemberChange::Put(TeamMember {
            spend: 0.0,
            sets_spend: true,
            budget_reset_at: next_start(&member.settings, now),
            ..member.clone()
        })
    }
}

fn next_start(settings: &Map<String, Value>, now: SystemTime) -> Option<SystemTime> {
    let text = settings.get("budget_duration")?.as_str()?;
    text.parse().ok().and_then(|span: Span| span.next_start(now))
}

fn audit(object_type: &str, object_id: String, before: Value, after: Value, at: SystemTime) -> AuditRow {
    AuditRow {
        id: 0,
        at,
        actor: ACTOR.to_owned(),
        changed_by: None,
        source: None,
        request_id: None,
        action: "updated".to_owned(),
        object_type: object_type.to_owned(),
        object_id,
        before,
        after,
    }
}
