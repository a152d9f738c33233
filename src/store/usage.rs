//! What calls took, taken over from a journal: once, in one transaction, off every request's path.
//!
//! It is no write in the sense of [`super::change`]: it has no epoch and no audit row, and nobody forgets a record because of
//! it. What a key, a user or a team has spent is learnt from the sums that come back.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use portcullis_admin_api::spend::{Call, CallQuery, Reports, Sum, SumQuery};
use portcullis_admin_api::store::StoreError;
use portcullis_filters::authn::virtual_key::KeyHash;
use portcullis_filters::directory::TeamName;
use portcullis_filters::limits::Posted;
use portcullis_filters::price::Cost;
use portcullis_filters::usage::Usage;

use super::row::{self, Row, Unreadable};
use super::statement::usage as statement;
use super::{Backend, Inner, Lane, Store};
use super::{directory, listing};
use crate::usage::{Caller, UsageRecord};

/// Whose spending is summed up. The order is that in which management writes touch them, so that neither side ever waits
/// for the other in a circle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Account {
    User(String),
    Team(String),
    Member { team_id: String, user_id: String },
    Key(KeyHash),
}

impl Account {
    /// Those that a call of this caller is charged to.
    fn of(caller: &Caller) -> impl Iterator<Item = Self> {
        let Caller { key, user_id, team_id, .. } = caller;
        let member = user_id.clone().zip(team_id.clone());
        let member = member.map(|(user_id, team_id)| Self::Member { team_id, user_id });
        let [user, team] = [user_id.clone().map(Self::User), team_id.clone().map(Self::Team)];
        [user, team, member, key.map(Self::Key)].into_iter().flatten()
    }

    /// Under which name the limits count it.
    pub(super) fn counted_as(&self) -> KeyHash {
        match self {
            Self::User(id) => directory::user(id),
            Self::Team(id) => directory::team(TeamName::Id(id)),
            Self::Member { team_id, user_id } => directory::member(team_id, user_id),
            Self::Key(hash) => *hash,
        }
    }
}

/// What an account has spent, and of a key the hash that it has by now.
type Spent = (f64, Option<KeyHash>);

/// What was taken in one day by one caller of one model.
pub(super) struct DayTotal {
    /// Days since 1970, UTC.
    pub(super) day: i64,
    pub(super) caller: Caller,
    pub(super) model: String,
    pub(super) upstream_model: String,
    pub(super) provider: String,
    pub(super) requests: u64,
    pub(super) usage: Usage,
    pub(super) cost: Cost,
}

impl Store {
    /// Takes over the records of a part of a journal, unless it has them; what each account has spent by then. `keep_calls`:
    /// whether each call is kept by itself.
    ///
    /// # Errors
    /// The database is away. Whether it has the records is unknown then; posting them again is right.
    pub async fn post_usage(
        &self,
        journal: &str,
        number: u64,
        records: &[UsageRecord],
        keep_calls: bool,
    ) -> Result<Vec<Posted>, StoreError> {
        let amounts = by_account(records);
        let spend = |(account, cost): (&Account, &Cost)| statement::spend(account, cost.dollars());
        let mut statements: Vec<_> = amounts.iter().map(spend).collect();
        statements.extend(by_day(records).iter().map(statement::add_to_day));
        if keep_calls {
            statements.extend(records.iter().map(statement::log));
        }
        let begin = statement::begin(journal, number, SystemTime::now());
        let sums = match &self.0.backend {
            Backend::Postgres(postgres) => postgres.post(begin, statements, sum).await?,
            Backend::Sqlite(sqlite) => sqlite.post(begin, statements, sum).await?,
        };
        let sums = match sums {
            Some(sums) => sums,
            None => self.0.totals(amounts.keys()).await?,
        };
        let posted = |((account, amount), sum): ((Account, Cost), Vec<Spent>)| {
            let (total, moved_to) = sum.into_iter().next()?;
            let counted_as = account.counted_as();
            let now_as = moved_to.unwrap_or(counted_as);
            Some(Posted { counted_as, now_as, amount, total: Cost::from_dollars(total) })
        };
        // The sums of the accounts come first, one list for each statement.
        Ok(amounts.into_iter().zip(sums).filter_map(posted).collect())
    }

    /// Drops the calls that began before this.
    ///
    /// # Errors
    /// The database is away.
    pub async fn forget_calls(&self, before: SystemTime) -> Result<(), StoreError> {
        self.0.read(statement::forget_log(before), |_| Ok(()), Lane::Admin).await.map(drop)
    }
}

#[async_trait]
impl Reports for Inner {
    async fn sums(&self, query: &SumQuery) -> Result<Vec<Sum>, StoreError> {
        self.read(listing::usage_sums(query), row::usage_sum, Lane::Admin).await
    }

    async fn calls(&self, query: &CallQuery) -> Result<Vec<Call>, StoreError> {
        self.read(listing::usage_calls(query), row::usage_call, Lane::Admin).await
    }
}

impl Inner {
    async fn totals<'a>(&self, accounts: impl Iterator<Item = &'a Account>) -> Result<Vec<Vec<Spent>>, StoreError> {
        let mut sums = Vec::new();
        for account in accounts {
            sums.push(self.read(statement::spent(account), sum, Lane::Admin).await?);
        }
        Ok(sums)
    }
}

fn sum(row: &Row<'_>) -> Result<Spent, Unreadable> {
    Ok((row.real(0)?, row.hash(1).ok()))
}

fn by_account(records: &[UsageRecord]) -> BTreeMap<Account, Cost> {
    let mut amounts = BTreeMap::<Account, Cost>::new();
    for record in records {
        for account in Account::of(&record.caller) {
            let amount = amounts.entry(account).or_default();
            *amount = amount.plus(record.cost);
        }
    }
    amounts
}

/// In one order, as the keys.
fn by_day(records: &[UsageRecord]) -> Vec<DayTotal> {
    let mut totals = BTreeMap::new();
    for record in records {
        let UsageRecord { caller, model, upstream_model, provider, .. } = record;
        let total =
            totals.entry((day_of(record.ended), caller, model, upstream_model, provider)).or_insert_with(|| DayTotal {
                day: day_of(record.ended),
                caller: caller.clone(),
                model: model.clone(),
                upstream_model: upstream_model.clone(),
                provider: provider.clone(),
                requests: 0,
                usage: Usage::default(),
                cost: Cost::default(),
            });
        total.requests += 1;
        total.usage = total.usage.plus(&record.usage);
        total.cost = total.cost.plus(record.cost);
    }
    totals.into_values().collect()
}

/// Days since 1970, UTC.
pub(super) fn day_of(at: SystemTime) -> i64 {
    i64::try_from(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 86_400).unwrap_or(i64::MAX)
}
