//! `authorize`: the rules of what a principal may do, and the only maker of a [`Permit`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::denial::Denial;
use crate::directory::{Membership, TeamRecord};
use crate::endpoint::{Call, Endpoint};
use crate::operation::Operation;
use crate::principal::{KeyHolder, LimitInForce, Principal, TokenPrincipal};

mod route_rule;

pub use route_rule::is_route_rule;

use route_rule::RouteRule;

/// Proof that policy allowed this operation to this principal. There is no other way to make one than [`authorize`].
#[derive(Clone, Debug)]
pub struct Permit {
    principal: Principal,
    operation: Operation,
    model: Option<Arc<str>>,
    team: Option<Membership>,
}

impl Permit {
    /// Who was allowed.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// What was allowed.
    #[must_use]
    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    /// The model to route to: the caller's, or what the key's aliases make of it.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// The team that is charged: the key's, or the first of a token's teams that allows the call.
    #[must_use]
    pub fn team(&self) -> Option<&TeamRecord> {
        self.team.as_deref()
    }

    /// How fast and for how much calls may be made; every one of them counts.
    pub fn limits(&self) -> impl Iterator<Item = LimitInForce<'_>> {
        let of_team = self.team.iter().flat_map(Membership::limits);
        self.principal.limits().chain(of_team.map(LimitInForce::from))
    }

    /// The names and patterns that the rules of the principal and of its teams list; empty where it may use any model.
    /// Each is a candidate only: where several rules count, [`Permit::allows_model`] has the last word.
    pub fn granted_models(&self) -> impl Iterator<Item = &String> {
        granted_models(&self.principal)
    }

    /// Whether this principal may also see or use the model of this name. For listings.
    #[must_use]
    pub fn allows_model(&self, name: &str, groups: &AccessGroups) -> bool {
        self.principal.allows_model(name, groups)
    }
}

/// Decides whether `principal` may do `operation`.
///
/// # Errors
/// [`Denial::RouteForbidden`]; [`Denial::ModelForbidden`], [`Denial::TeamModelForbidden`], [`Denial::UserModelForbidden`].
pub fn authorize(principal: Principal, operation: Operation, groups: &AccessGroups) -> Result<Permit, Denial> {
    let mut model = operation.model.clone();
    let mut team = None;
    match &principal {
        Principal::Master => {}
        Principal::Key(key) => {
            model = model.map(|model| key.policy.resolve_alias(&model));
            check_key(key, &operation, model.as_deref(), groups)?;
            check_bounds(key, &operation, model.as_deref(), groups)?;
            team = key.team.clone();
        }
        Principal::Token(token) => {
            for policy in &token.policies {
                policy.check(&operation, model.as_deref(), groups)?;
            }
            team = team_of(token, &operation, model.as_deref(), groups)?;
        }
        Principal::Custom(custom) => {
            for policy in &custom.policies {
                policy.check(&operation, model.as_deref(), groups)?;
            }
            team = custom.team.clone();
        }
    }
    Ok(Permit { principal, operation, model, team })
}

/// The names and patterns that the rules of a principal and of its teams list; none where it may use any model.
pub fn granted_models(principal: &Principal) -> impl Iterator<Item = &String> {
    principal.policies().chain(principal.team_policies()).flat_map(Policy::granted_models)
}

/// What each rule that is looked at says by itself: whose it is, and whether it allows the call. For explanations;
/// [`authorize`] decides.
pub fn rules(
    permit_for: &Principal,
    operation: &Operation,
    groups: &AccessGroups,
) -> Vec<(String, Result<(), Denial>)> {
    let asked = operation.model.as_ref();
    let check =
        |policy: &Policy, model: Option<&Arc<str>>| policy.check(operation, model.map(|model| &**model), groups);
    let numbered = |policies: &[Policy]| -> Vec<_> {
        let named = (1..).zip(policies).map(|(n, policy)| (format!("rule {n} of the identity"), check(policy, asked)));
        named.collect()
    };
    match permit_for {
        Principal::Master => Vec::new(),
        Principal::Key(key) => {
            let model = asked.map(|model| key.policy.resolve_alias(model));
            let own = ("key".to_owned(), check_key(key, operation, model.as_deref(), groups));
            let whose = match (&key.team, &key.user) {
                (Some(team), _) => Some(format!("team {}", team.id)),
                (None, Some(user)) if key.team_id.is_none() => Some(format!("user {}", user.id)),
                _ => None,
            };
            let bounds = whose.map(|whose| (whose, check_bounds(key, operation, model.as_deref(), groups)));
            [Some(own), bounds].into_iter().flatten().collect()
        }
        Principal::Token(token) => {
            let teams = token.teams.iter().map(|team| {
                let allowed = token.team_routes.check_route(operation).and_then(|()| check(&team.policy, asked));
                (format!("team {}", team.id), allowed)
            });
            numbered(&token.policies).into_iter().chain(teams).collect()
        }
        Principal::Custom(custom) => numbered(&custom.policies),
    }
}

/// What the key's own lists say.
fn check_key(key: &KeyHolder, operation: &Operation, model: Option<&str>, groups: &AccessGroups) -> Result<(), Denial> {
    key.policy.check_by(operation, model, groups, key.team.is_some())
}

/// What the list of the key's team says, or of its owner where it names no team.
fn check_bounds(
    key: &KeyHolder,
    operation: &Operation,
    model: Option<&str>,
    groups: &AccessGroups,
) -> Result<(), Denial> {
    if let Some(team) = &key.team {
        return team.policy.check(operation, model, groups).map_err(|denial| match denial {
            Denial::ModelForbidden(model) => Denial::TeamModelForbidden(model),
            other => other,
        });
    }
    match &key.user {
        Some(user) if key.team_id.is_none() => {
            user.policy.check(operation, model, groups).map_err(|denial| match denial {
                Denial::ModelForbidden(model) => Denial::UserModelForbidden(model),
                other => other,
            })
        }
        _ => Ok(()),
    }
}

/// The first team of a token that allows the call (LiteLLM: contract 03, section 4, `team_ids_jwt_field`). Without any
/// team nobody has a say; with some, one of them has to say yes, and the refusal is that of the last one asked.
fn team_of(
    token: &TokenPrincipal,
    operation: &Operation,
    model: Option<&str>,
    groups: &AccessGroups,
) -> Result<Option<Membership>, Denial> {
    let mut refused = Ok(None);
    for team in &token.teams {
        let allowed = token.team_routes.check_route(operation);
        match allowed.and_then(|()| team.policy.check(operation, model, groups)) {
            Ok(()) => return Ok(Some(team.clone())),
            Err(denial) => refused = Err(denial),
        }
    }
    refused
}

/// Which models belong to which access group (`model_info.access_groups`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessGroups(HashMap<String, Vec<String>>);

impl AccessGroups {
    /// From pairs of a model name and a group that it belongs to.
    #[must_use]
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut groups: HashMap<String, Vec<String>> = HashMap::new();
        for (model, group) in pairs {
            groups.entry(model).or_default().push(group);
        }
        Self(groups)
    }

    /// The groups of a model.
    #[must_use]
    pub fn of(&self, model: &str) -> &[String] {
        self.0.get(model).map_or(&[], Vec::as_slice)
    }
}

/// What a key, a role or a scope may do, compiled from lists of models and routes. Cheap to clone.
///
/// Most keys have no such rules, and many keys are held in memory: those without pay for a pointer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy(Option<Arc<[Rules]>>);

/// Of several, one has to allow a call as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rules {
    /// `None` opens every model.
    models: Option<Vec<String>>,
    /// `all-team-models`: where a team has a say, every model is open as far as this list goes.
    all_of_team: bool,
    /// `None` leaves the routes to the role.
    routes: Option<Vec<RouteRule>>,
    aliases: BTreeMap<String, String>,
}

impl Policy {
    /// Compiles the rules as LiteLLM writes them in a row. An empty list, `*` and `all-proxy-models` open every model; an
    /// empty route list leaves the routes to the role. `no-default-models` and `all-team-models` grant nothing by
    /// themselves; the latter leaves it to the team.
    #[must_use]
    pub fn new(models: &[String], routes: &[String], aliases: BTreeMap<String, String>) -> Self {
        let models = (!models.is_empty()).then_some(models);
        let routes = (!routes.is_empty()).then_some(routes);
        Self::compile(Rules { aliases, ..Rules::new(models, routes) })
    }

    /// Compiles lists of the configuration, which mean what they say: an empty one opens nothing, and only a missing one
    /// (`None`) leaves its side open.
    #[must_use]
    pub fn granting(models: Option<&[String]>, routes: Option<&[String]>) -> Self {
        Self::compile(Rules::new(models, routes))
    }

    /// Allows what one of these allows by itself, and nothing where there is none of them. Models of the one are not
    /// open on routes of the other.
    #[must_use]
    pub fn any_of<'a>(policies: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut alternatives = Vec::new();
        for policy in policies {
            let Some(rules) = &policy.0 else { return Self::default() };
            alternatives.extend_from_slice(rules);
        }
        Self(Some(alternatives.into()))
    }

    fn compile(rules: Rules) -> Self {
        Self((rules != Rules::default()).then(|| Arc::new([rules]) as Arc<[Rules]>))
    }

    /// Whether the model is open: by name, by pattern, or through a group that it belongs to.
    #[must_use]
    pub fn allows_model(&self, model: &str, groups: &AccessGroups) -> bool {
        self.any(|rules| rules.allows_model(model, groups, false))
    }

    /// As [`Policy::allows_model`], where a team has a say besides.
    pub(crate) fn allows_model_in_team(&self, model: &str, groups: &AccessGroups) -> bool {
        self.any(|rules| rules.allows_model(model, groups, true))
    }

    /// Whether the LLM call of this endpoint is open.
    #[must_use]
    pub fn allows_route(&self, endpoint: &Endpoint) -> bool {
        self.any(|rules| rules.allows_route(endpoint))
    }

    /// Whether a management route of this path is open as far as the lists go; the role is asked besides.
    #[must_use]
    pub fn allows_management_route(&self, path: &str) -> bool {
        self.any(|rules| rules.routes.as_ref().is_none_or(|list| list.iter().any(|rule| rule.allows_management(path))))
    }

    /// Whether a row with this list of models would open nothing that is not open here. `is_group` tells the names that stand
    /// for others: what such a name begins with says nothing of what it opens.
    #[must_use]
    pub fn covers_models(&self, models: &[String], is_group: impl Fn(&str) -> bool) -> bool {
        let asked = Rules::new((!models.is_empty()).then_some(models), None);
        self.any(|rules| rules.covers_models(&asked, &is_group))
    }

    /// Whether it leaves the routes to the role.
    #[must_use]
    pub fn leaves_routes(&self) -> bool {
        self.any(|rules| rules.routes.is_none())
    }

    fn any(&self, allows: impl Fn(&Rules) -> bool) -> bool {
        self.0.as_deref().is_none_or(|alternatives| alternatives.iter().any(allows))
    }

    /// Whether this policy allows the call: its route and every model that it names.
    fn check(&self, operation: &Operation, model: Option<&str>, groups: &AccessGroups) -> Result<(), Denial> {
        self.check_by(operation, model, groups, false)
    }

    /// The same; `in_team`: a team has a say besides.
    fn check_by(
        &self,
        operation: &Operation,
        model: Option<&str>,
        groups: &AccessGroups,
        in_team: bool,
    ) -> Result<(), Denial> {
        let Some(alternatives) = self.0.as_deref() else { return Ok(()) };
        let mut refused = Denial::RouteForbidden;
        for rules in alternatives {
            match rules.check(operation, model, groups, in_team) {
                Ok(()) => return Ok(()),
                // What is nearer to a yes says more: there the route was open.
                Err(denial @ Denial::ModelForbidden(_)) => refused = denial,
                Err(_) => {}
            }
        }
        Err(refused)
    }

    fn check_route(&self, operation: &Operation) -> Result<(), Denial> {
        if self.allows_route(&operation.endpoint) { Ok(()) } else { Err(Denial::RouteForbidden) }
    }

    fn resolve_alias(&self, model: &Arc<str>) -> Arc<str> {
        let alias = self.0.iter().flat_map(|rules| rules.iter()).find_map(|rules| rules.aliases.get(&**model));
        alias.map_or_else(|| Arc::clone(model), |alias| alias.as_str().into())
    }

    fn granted_models(&self) -> impl Iterator<Item = &String> {
        self.0.iter().flat_map(|rules| rules.iter()).filter_map(|rules| rules.models.as_ref()).flatten()
    }
}

impl Rules {
    fn new(models: Option<&[String]>, routes: Option<&[String]>) -> Self {
        let opens_all = |names: &&[String]| names.iter().any(|name| name == "*" || name == "all-proxy-models");
        let granted = |name: &&String| !matches!(name.as_str(), "no-default-models" | "all-team-models");
        let listed = |rule: &&String| !rule.is_empty();
        Self {
            models: models
                .filter(|names| !opens_all(names))
                .map(|names| names.iter().filter(granted).cloned().collect()),
            routes: routes.map(|rules| rules.iter().filter(listed).map(|rule| RouteRule::new(rule)).collect()),
            all_of_team: models.is_some_and(|names| names.iter().any(|name| name == "all-team-models")),
            aliases: BTreeMap::new(),
        }
    }

    fn allows_model(&self, model: &str, groups: &AccessGroups, in_team: bool) -> bool {
        if in_team && self.all_of_team {
            return true;
        }
        let Some(granted) = &self.models else { return true };
        let member_of = groups.of(model);
        granted.iter().any(|grant| matches_pattern(grant, model) || member_of.contains(grant))
    }

    /// What a team opens is left to it in one place and not in another, so here nobody's `all-team-models` covers another's.
    fn covers_models(&self, asked: &Self, is_group: &impl Fn(&str) -> bool) -> bool {
        let Some(granted) = &self.models else { return true };
        let Some(names) = asked.models.as_ref().filter(|_| !asked.all_of_team) else { return false };
        let covers = |grant: &String, name: &String| grant == name || (matches_pattern(grant, name) && !is_group(name));
        names.iter().all(|name| granted.iter().any(|grant| covers(grant, name)))
    }

    fn allows_route(&self, endpoint: &Endpoint) -> bool {
        self.routes.as_ref().is_none_or(|list| list.iter().any(|rule| rule.allows(endpoint)))
    }

    fn check(
        &self,
        operation: &Operation,
        model: Option<&str>,
        groups: &AccessGroups,
        in_team: bool,
    ) -> Result<(), Denial> {
        if !self.allows_route(&operation.endpoint) {
            return Err(Denial::RouteForbidden);
        }
        let lists = matches!(operation.endpoint.call, Call::ListModels | Call::RetrieveModel);
        let allowed = match model {
            Some(model) => self.allows_model(model, groups, in_team),
            // A call without a model (a file of a pass-through vendor, say) is open to those who may use any model.
            None => self.models.is_none() || (in_team && self.all_of_team),
        };
        if !allowed && !lists {
            return Err(Denial::ModelForbidden(model.unwrap_or_default().to_owned()));
        }
        match operation.other_models.iter().find(|other| !self.allows_model(other, groups, in_team)) {
            Some(other) => Err(Denial::ModelForbidden(other.clone())),
            None => Ok(()),
        }
    }
}

/// `prefix*` matches what begins so, `*` alone everything; a star elsewhere is no wildcard in LiteLLM.
#[must_use]
pub fn matches_pattern(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests;
