//! The fields of `UserAPIKeyAuth` that say who somebody is or what they may do (LiteLLM 1.109.1), and their meaning here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{KeyHash, Limit, NotAnIdentity};
use crate::calendar::iso_8601;
use crate::denial::{Denial, LimitName};
use crate::policy::Policy;
use crate::principal::Role;

#[derive(Deserialize)]
pub(super) struct Form {
    api_key: Option<String>,
    token: Option<String>,
    pub(super) key_alias: Option<String>,
    pub(super) user_id: Option<String>,
    pub(super) user_email: Option<String>,
    user_role: Option<String>,
    pub(super) team_id: Option<String>,
    pub(super) team_alias: Option<String>,
    pub(super) org_id: Option<String>,
    pub(super) organization_id: Option<String>,
    pub(super) end_user_id: Option<String>,
    models: Option<Vec<String>>,
    team_models: Option<Vec<String>>,
    pub(super) allowed_routes: Option<Vec<String>>,
    aliases: Option<Map<String, Value>>,
    expires: Option<Value>,
    blocked: Option<bool>,
    team_blocked: Option<bool>,
    max_budget: Option<f64>,
    spend: Option<f64>,
    user_max_budget: Option<f64>,
    user_spend: Option<f64>,
    team_max_budget: Option<f64>,
    team_spend: Option<f64>,
    organization_max_budget: Option<f64>,
    organization_spend: Option<f64>,
    rpm_limit: Option<u64>,
    tpm_limit: Option<u64>,
    max_parallel_requests: Option<u64>,
    user_rpm_limit: Option<u64>,
    user_tpm_limit: Option<u64>,
    team_rpm_limit: Option<u64>,
    team_tpm_limit: Option<u64>,
    model_max_budget: Option<Map<String, Value>>,
    rpm_limit_per_model: Option<BTreeMap<String, u64>>,
    tpm_limit_per_model: Option<BTreeMap<String, u64>>,
    end_user_rpm_limit: Option<u64>,
    end_user_tpm_limit: Option<u64>,
    end_user_max_budget: Option<f64>,
}

impl Form {
    /// Under which name the credential is known: the hash that the code gave, else that of its key, else that of what was
    /// presented. LiteLLM keeps a key that does not begin with `sk-` as it is, and repeats it (contract 04, C4). A credential
    /// may look like a hash; it is hashed all the same, or logs would name it.
    pub(super) fn key_hash(&self, credential: Option<&str>) -> KeyHash {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let token = given(&self.token);
        if let Some(Ok(hash)) = token.as_deref().filter(|token| Some(*token) != credential).map(str::parse) {
            return hash;
        }
        KeyHash::of(token.or(given(&self.api_key)).as_deref().or(credential).unwrap_or_default())
    }

    pub(super) fn role(&self) -> Result<Role, NotAnIdentity> {
        // Words of LiteLLM's for callers without any right but to call models.
        let without_rights = ["", "app_user", "customer", "org_admin"];
        match self.user_role.as_deref() {
            None => Ok(Role::None),
            Some(word) if without_rights.contains(&word) => Ok(Role::None),
            Some(word) => Role::named(word).ok_or(NotAnIdentity("the role of the identity is unknown")),
        }
    }

    /// The identity's own rules, and those of its team.
    pub(super) fn policies(&self) -> Vec<Policy> {
        let aliases: BTreeMap<String, String> = self.aliases.iter().flatten().filter_map(text_pair).collect();
        let routes = self.allowed_routes.as_deref().unwrap_or_default();
        let own = Policy::new(self.models.as_deref().unwrap_or_default(), routes, aliases);
        let team = self.team_models.as_deref().filter(|models| !models.is_empty());
        let team = team.map(|models| Policy::new(models, &[], BTreeMap::new()));
        std::iter::once(own).chain(team).filter(|policy| *policy != Policy::default()).collect()
    }

    /// ISO 8601 (without a zone it is UTC, as LiteLLM reads it), or seconds since 1970.
    pub(super) fn expires(&self) -> Result<Option<SystemTime>, NotAnIdentity> {
        let unreadable = NotAnIdentity("expires is no time");
        match &self.expires {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(seconds)) => {
                let since = seconds.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                since.and_then(|since| UNIX_EPOCH.checked_add(since)).map(Some).ok_or(unreadable)
            }
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => iso_8601(text).map(Some).ok_or(unreadable),
            Some(_) => Err(unreadable),
        }
    }

    /// Blocked, or spent. A budget of nothing is spent from the start.
    pub(super) fn refused(&self) -> Result<Option<Denial>, NotAnIdentity> {
        if self.blocked == Some(true) || self.team_blocked == Some(true) {
            return Ok(Some(Denial::BlockedKey));
        }
        let budgets = self.budgets();
        let spent_of = |scope| Ok(Some(Denial::OverBudget(LimitName { scope, field: "max_budget" })));
        let spent = |(_, most, spent): &(_, Option<f64>, Option<f64>)| {
            most.is_some_and(|most| spent.unwrap_or_default() >= most)
        };
        if let Some(&(scope, ..)) = budgets.iter().find(|budget| spent(budget)) {
            return spent_of(scope);
        }
        if self.end_user_max_budget.is_some_and(|most| most <= 0.0) {
            return spent_of("end_user");
        }
        Ok(None)
    }

    /// Whose, how much, and what of it was spent.
    fn budgets(&self) -> [(&'static str, Option<f64>, Option<f64>); 4] {
        [
            ("key", self.max_budget, self.spend),
            ("user", self.user_max_budget, self.user_spend),
            ("team", self.team_max_budget, self.team_spend),
            ("organization", self.organization_max_budget, self.organization_spend),
        ]
    }

    /// Whether anything bounds how fast it may be used, or for how much.
    pub(super) fn is_limited(&self, key: KeyHash) -> bool {
        let has_budget = self.budgets().iter().any(|(_, most, _)| most.is_some());
        has_budget || !self.limits(key).is_empty() || !self.unenforced().is_empty()
    }

    /// Each is counted under a name of its own: the credential's, the user's, the team's, the customer's.
    pub(super) fn limits(&self, key: KeyHash) -> Vec<Limit> {
        let counted_as = |scope: &str, id: &str| KeyHash::of(&format!("custom {scope} {id}"));
        let named = |scope: &'static str, id: &Option<String>, rpm, tpm| Limit {
            scope,
            counted_as: counted_as(scope, id.as_deref().unwrap_or(&key.to_string())),
            model: None,
            rpm,
            tpm,
            parallel: None,
            budget: None,
        };
        let own = named("key", &None, self.rpm_limit, self.tpm_limit);
        let all = [
            Limit { parallel: self.max_parallel_requests, ..own },
            named("user", &self.user_id, self.user_rpm_limit, self.user_tpm_limit),
            named("team", &self.team_id, self.team_rpm_limit, self.team_tpm_limit),
            named("end_user", &self.end_user_id, self.end_user_rpm_limit, self.end_user_tpm_limit),
        ];
        let rates = |map: &Option<BTreeMap<String, u64>>| map.clone().unwrap_or_default();
        let (rpm, tpm) = (rates(&self.rpm_limit_per_model), rates(&self.tpm_limit_per_model));
        let models: BTreeSet<&String> = rpm.keys().chain(tpm.keys()).collect();
        let of_models = models.into_iter().map(|model| Limit {
            scope: "key",
            counted_as: counted_as(&format!("model {model} of key"), &key.to_string()),
            model: Some(model.as_str().into()),
            rpm: rpm.get(model).copied(),
            tpm: tpm.get(model).copied(),
            parallel: None,
            budget: None,
        });
        let is_one = |limit: &Limit| limit.rpm.is_some() || limit.tpm.is_some() || limit.parallel.is_some();
        all.into_iter().filter(is_one).chain(of_models).collect()
    }

    /// What would need the money that earlier calls cost, which nobody counts for such an identity.
    pub(super) fn unenforced(&self) -> Vec<&'static str> {
        let listed = |map: &Option<Map<String, Value>>| map.as_ref().is_some_and(|map| !map.is_empty());
        [
            ("end_user_max_budget", self.end_user_max_budget.is_some()),
            ("model_max_budget", listed(&self.model_max_budget)),
        ]
        .into_iter()
        .filter_map(|(name, there)| there.then_some(name))
        .collect()
    }
}

fn text_pair((name, value): (&String, &Value)) -> Option<(String, String)> {
    Some((name.clone(), value.as_str()?.to_owned()))
}
