//! Whom a key names, and what is asked of them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::UNIX_EPOCH;

use futures_util::FutureExt;

use super::*;
use crate::authn::failures::FailureSettings;
use crate::cache::CacheSettings;
use crate::directory::{Enrolment, TeamName, TeamRecord, UserRecord};

/// Knows the key `sk-` and the names that it has, the teams `open` and `blocked`, and the user `ada`.
#[derive(Default)]
struct Known {
    team_id: Option<&'static str>,
    user_id: Option<&'static str>,
    away: bool,
    asked: AtomicU32,
}

impl KeyStore for Known {
    fn find(&self, id: KeyHash) -> BoxFuture<'_, Result<Option<KeyRecord>, StoreUnavailable>> {
        let record = KeyRecord {
            id,
            alias: None,
            user_id: self.user_id.map(Into::into),
            team_id: self.team_id.map(Into::into),
            organization_id: None,
            policy: Policy::default(),
            expires: None,
            blocked: false,
            limits: None,
        };
        async { Ok(Some(record)) }.boxed()
    }
}

impl Known {
    fn answer<T>(&self, found: Option<T>) -> Result<Option<Arc<T>>, StoreUnavailable> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.away { Err(StoreUnavailable("away".to_owned())) } else { Ok(found.map(Arc::new)) }
    }
}

impl Directory for Known {
    fn user<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Arc<UserRecord>>, StoreUnavailable>> {
        let user = UserRecord { id: id.into(), role: Default::default(), policy: Policy::default(), limits: None };
        async move { self.answer((id == "ada").then_some(user)) }.boxed()
    }

    fn team<'a>(&'a self, name: TeamName<'a>) -> BoxFuture<'a, Result<Option<Arc<TeamRecord>>, StoreUnavailable>> {
        let (TeamName::Id(id) | TeamName::Alias(id)) = name;
        let policy = Policy::default();
        let team = TeamRecord {
            id: id.into(),
            alias: None,
            organization_id: None,
            policy,
            blocked: id == "blocked",
            version: 1,
            limits: None,
            limits_members: false,
        };
        async move { self.answer(["open", "blocked"].contains(&id).then_some(team)) }.boxed()
    }

    fn enrol(&self, enrolment: Enrolment) {
        panic!("a key makes no row: {enrolment:?}");
    }
}

#[tokio::test]
async fn a_key_brings_its_team_and_its_owner_along() {
    let cases = [
        (None, None, false, Ok((false, false)), 0),
        (None, None, true, Ok((false, false)), 0),
        (Some("open"), None, false, Ok((true, false)), 1),
        (Some("open"), Some("ada"), false, Ok((true, true)), 2),
        (Some("nobody"), Some("ghost"), false, Ok((false, false)), 2),
        (Some("blocked"), Some("ada"), false, Err("blocked_team"), 1),
        (Some("open"), None, true, Err("store_unavailable"), 1),
        (None, Some("ada"), true, Err("store_unavailable"), 1),
    ];
    for (team_id, user_id, away, outcome, asked) in cases {
        let known = Arc::new(Known { team_id, user_id, away, asked: AtomicU32::new(0) });
        let keys = VirtualKeyAuthenticator::new(
            known.clone(),
            Arc::new(KeyCache::new(CacheSettings::default())),
            Arc::new(FailureThrottle::new(FailureSettings::default())),
        )
        .with_directory(known.clone());
        let principal = keys.holder(KeyHash::of("sk-"), None, UNIX_EPOCH).await;
        let found = principal.map(|principal| match principal {
            Some(Principal::Key(holder)) => (holder.team.is_some(), holder.user.is_some()),
            other => panic!("{other:?}"),
        });
        assert_eq!(found.map_err(|denial| denial.reason()), outcome, "{team_id:?} {user_id:?} {away}");
        assert_eq!(known.asked.load(Ordering::Relaxed), asked, "{team_id:?} {user_id:?}");
    }
}
