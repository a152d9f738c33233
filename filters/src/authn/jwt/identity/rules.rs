//! `litellm_jwtauth` of one issuer, read and checked.

use super::super::claims::ClaimPath;
use crate::policy::Policy;
use crate::principal::Role;

/// LiteLLM's default of `admin_allowed_routes`. Calls to a model are not among them.
pub const ADMIN_ROUTES: &[&str] =
    &["management_routes", "spend_tracking_routes", "global_spend_tracking_routes", "info_routes"];

/// LiteLLM's default of `team_allowed_routes`, as far as such routes are served here.
pub const TEAM_ROUTES: &[&str] = &["openai_routes", "anthropic_routes", "info_routes"];

/// `litellm_jwtauth` of one issuer. `Default` is an empty block: every verified token may call models, and only the admin
/// scope opens management.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimRules {
    /// `user_id_jwt_field`. Where the claim is absent the e-mail address stands in.
    pub user_id: Option<ClaimPath>,
    /// `user_email_jwt_field`
    pub user_email: Option<ClaimPath>,
    /// `user_allowed_email_domain`: what must stand behind the last `@`.
    pub email_domain: Option<String>,
    /// `user_id_upsert`
    pub enrol_users: bool,
    /// `user_roles_jwt_field` with `user_allowed_roles`: the claim must hold one of these, but for an admin.
    pub user_roles: Option<(ClaimPath, Vec<String>)>,
    /// `team_id_jwt_field`
    pub team_id: Option<ClaimPath>,
    /// `team_ids_jwt_field`
    pub team_ids: Option<ClaimPath>,
    /// `team_alias_jwt_field`
    pub team_alias: Option<ClaimPath>,
    /// `team_id_default`
    pub default_team: Option<String>,
    /// `team_id_upsert`: for the one team that a token names by id, never for those of a list.
    pub enrol_teams: bool,
    /// `team_allowed_routes`, compiled by [`Policy::granting`]; [`TEAM_ROUTES`] where the configuration says nothing.
    pub team_routes: Policy,
    /// `enforce_team_based_model_access`
    pub team_required: bool,
    /// `org_id_jwt_field`
    pub organization_id: Option<ClaimPath>,
    /// `end_user_id_jwt_field`
    pub end_user_id: Option<ClaimPath>,
    /// `admin_jwt_scope`
    pub admin_scope: String,
    /// `admin_allowed_routes`, compiled by [`Policy::granting`]; [`ADMIN_ROUTES`] where the configuration says nothing.
    pub admin_routes: Policy,
    /// `roles_jwt_field` with `role_mappings`: the role of the identity provider, and what it is here. The first that
    /// matches counts.
    pub roles: Option<(ClaimPath, Vec<(String, Role)>)>,
    /// `object_id_jwt_field`: the claim that holds the id of whatever the role makes the caller, a team or a user.
    pub object_id: Option<ClaimPath>,
    /// `general_settings.enforce_rbac`
    pub enforce_rbac: bool,
    /// `general_settings.role_permissions`: models and routes of a role, compiled by [`Policy::granting`]. A role that is
    /// not listed is not restricted.
    pub role_permissions: Vec<(Role, Policy)>,
    /// `scope_mappings`: the models and routes that a scope opens, compiled by [`Policy::granting`]; only with
    /// `enforce_scope_based_access`. A scope without `models` opens none, as in LiteLLM.
    pub scopes: Option<Vec<(String, Policy)>>,
}

impl Default for ClaimRules {
    fn default() -> Self {
        Self {
            user_id: None,
            user_email: None,
            email_domain: None,
            enrol_users: false,
            user_roles: None,
            team_id: None,
            team_ids: None,
            team_alias: None,
            default_team: None,
            enrol_teams: false,
            team_routes: routes(TEAM_ROUTES),
            team_required: false,
            organization_id: None,
            end_user_id: None,
            admin_scope: "litellm_proxy_admin".to_owned(),
            admin_routes: routes(ADMIN_ROUTES),
            roles: None,
            object_id: None,
            enforce_rbac: false,
            role_permissions: Vec::new(),
            scopes: None,
        }
    }
}

/// A policy that opens these routes, and any model on them.
pub(super) fn routes(rules: &[&str]) -> Policy {
    let rules: Vec<String> = rules.iter().map(|rule| (*rule).to_owned()).collect();
    Policy::granting(None, Some(&rules))
}
