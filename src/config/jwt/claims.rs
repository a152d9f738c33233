//! LiteLLM's claim options: the block `litellm_jwtauth`, and what one issuer says otherwise.
//!
//! An option of an issuer stands for the same option of the block; what neither gives is LiteLLM's default, which
//! `ClaimRules::default` knows. What must stay true: an option that needs another one to have its effect is a mistake
//! without it.

use portcullis_filters::authn::jwt::claims::ClaimPath;
use portcullis_filters::authn::jwt::identity::ClaimRules;
use portcullis_filters::policy::{Policy, is_route_rule};
use portcullis_filters::principal::Role;

use crate::config::field::Field;
use crate::config::known::Known;
use crate::config::litellm;
use crate::config::reader::Section;

/// The roles that LiteLLM maps to.
const ROLES: [(&str, Role); 3] =
    [("proxy_admin", Role::Admin), ("team", Role::Team), ("internal_user", Role::InternalUser)];

/// The block, and the two keys of `general_settings` that belong to it.
pub(super) fn global(general: &Section<'_>, block: &Section<'_>) -> ClaimRules {
    let rules = read(block, ClaimRules::default());
    // LiteLLM reads it at one of the two places, depending on the version.
    let enforce_rbac = general.flag("enforce_rbac", false) || rules.enforce_rbac;
    let listed = general.field("role_permissions").and_then(|field| field.some_list());
    if listed.is_some() && !enforce_rbac {
        general.mistake("role_permissions", "restricts nobody without enforce_rbac: set that to true, or remove this");
    }
    let permission = |entry: &Field<'_>| {
        let section = entry.section(&Known::NOTHING_ELSE);
        let role = section.required("role").and_then(|field| field.choice(&ROLES));
        let policy = permissions(&section, None);
        Some((role?, policy))
    };
    let role_permissions = listed.unwrap_or_default().iter().filter_map(permission).collect();
    ClaimRules { enforce_rbac, role_permissions, ..rules }
}

/// Every option that the claims of an issuer go by.
fn read(section: &Section<'_>, rules: ClaimRules) -> ClaimRules {
    let rules = read_identity(section, rules);
    let path = |key| section.field(key).and_then(|field| field.parsed(str::parse::<ClaimPath>));
    let routes = |key| section.field(key).map(|field| Policy::granting(None, Some(&routes_of(&field))));
    let domain = section.field("user_allowed_email_domain").and_then(|field| field.some_parsed(domain));
    // Empty text is no scope, and not the usual one: whoever writes it wants no admin.
    let admin_scope = section.field_even_empty("admin_jwt_scope");
    let admin_scope = admin_scope.map(|field| field.text().unwrap_or_default());
    let (roles, object_id) = (mapped_roles(section).or(rules.roles), path("object_id_jwt_field"));
    if object_id.is_some() && roles.is_none() {
        section.mistake("role_mappings", "is missing: object_id_jwt_field needs it, and roles_jwt_field");
    }
    ClaimRules {
        email_domain: domain.or(rules.email_domain),
        enrol_users: section.flag("user_id_upsert", rules.enrol_users),
        user_roles: user_roles(section).or(rules.user_roles),
        team_alias: path("team_alias_jwt_field").or(rules.team_alias),
        default_team: section.text("team_id_default").or(rules.default_team),
        enrol_teams: section.flag("team_id_upsert", rules.enrol_teams),
        team_routes: routes("team_allowed_routes").unwrap_or(rules.team_routes),
        team_required: section.flag("enforce_team_based_model_access", rules.team_required),
        admin_scope: admin_scope.unwrap_or(rules.admin_scope),
        admin_routes: routes("admin_allowed_routes").unwrap_or(rules.admin_routes),
        roles,
        enforce_rbac: section.flag("enforce_rbac", rules.enforce_rbac),
        object_id: object_id.or(rules.object_id),
        scopes: scopes(section).or(rules.scopes),
        ..rules
    }
}

/// The options that LiteLLM takes for a single issuer: which claims say who it is.
pub(super) fn read_identity(section: &Section<'_>, rules: ClaimRules) -> ClaimRules {
    let path = |key| section.field(key).and_then(|field| field.parsed(str::parse::<ClaimPath>));
    ClaimRules {
        user_id: path("user_id_jwt_field").or(rules.user_id),
        user_email: path("user_email_jwt_field").or(rules.user_email),
        team_id: path("team_id_jwt_field").or(rules.team_id),
        team_ids: path("team_ids_jwt_field").or(rules.team_ids),
        organization_id: path("org_id_jwt_field").or(rules.organization_id),
        end_user_id: path("end_user_id_jwt_field").or(rules.end_user_id),
        ..rules
    }
}

/// `claims` of an entry of `portcullis.jwt`.
pub(super) fn of_entry(entry: &Section<'_>, rules: &ClaimRules) -> ClaimRules {
    let section = entry.section("claims", &litellm::JWT);
    let rules = read(&section, rules.clone());
    ask_for_address(&rules, &section);
    rules
}

/// A domain is compared with an address, so some claim has to hold one. `section` is where the claim may be named.
pub(super) fn ask_for_address(rules: &ClaimRules, section: &Section<'_>) {
    if rules.email_domain.is_some() && rules.user_email.is_none() {
        section.mistake("user_email_jwt_field", "is missing: user_allowed_email_domain needs it");
    }
}

fn domain(text: &str) -> Result<String, &'static str> {
    let fits = !text.contains('@') && !text.contains(char::is_whitespace);
    fits.then(|| text.to_owned()).ok_or("expected a domain such as example.com")
}

fn user_roles(section: &Section<'_>) -> Option<(ClaimPath, Vec<String>)> {
    let (claim, allowed) = both(section, "user_roles_jwt_field", "user_allowed_roles")?;
    let (claim, allowed) = (claim.some_parsed(str::parse), allowed.texts());
    Some((claim?, allowed?))
}

fn mapped_roles(section: &Section<'_>) -> Option<(ClaimPath, Vec<(String, Role)>)> {
    let (claim, mappings) = both(section, "roles_jwt_field", "role_mappings")?;
    let mapping = |entry: &Field<'_>| {
        let section = entry.section(&Known::NOTHING_ELSE);
        let role = section.required("role").and_then(|field| field.some_text());
        let internal = section.required("internal_role").and_then(|field| field.choice(&ROLES));
        Some((role?, internal?))
    };
    let claim = claim.some_parsed(str::parse);
    let mappings = mappings.some_list()?.iter().filter_map(mapping).collect();
    Some((claim?, mappings))
}

/// `scope_mappings`, where they are enforced. A scope without models opens none: in LiteLLM too.
fn scopes(section: &Section<'_>) -> Option<Vec<(String, Policy)>> {
    let enforced = section.flag("enforce_scope_based_access", false);
    let Some(field) = section.field("scope_mappings") else {
        if enforced {
            section.mistake("scope_mappings", "is missing: enforce_scope_based_access needs it");
        }
        return None;
    };
    if !enforced {
        field.mistake("restricts nobody without enforce_scope_based_access: set that to true, or remove this");
    }
    let mapping = |entry: &Field<'_>| {
        let section = entry.section(&Known::NOTHING_ELSE);
        let scope = section.required("scope").and_then(|field| field.some_text());
        let policy = permissions(&section, Some(&[]));
        Some((scope?, policy))
    };
    Some(field.some_list()?.iter().filter_map(mapping).collect())
}

/// `models` and `routes` of a role or a scope; `otherwise` are the models of one that lists none.
fn permissions(section: &Section<'_>, otherwise: Option<&[String]>) -> Policy {
    let (models, routes) = (section.field("models"), section.field("routes"));
    if models.is_none() && routes.is_none() {
        section.mistake("models", "is missing: give models, routes or both");
    }
    let models = models.map(|field| field.items().iter().filter_map(Field::some_text).collect::<Vec<_>>());
    let routes = routes.map(|field| routes_of(&field));
    Policy::granting(models.as_deref().or(otherwise), routes.as_deref())
}

fn routes_of(field: &Field<'_>) -> Vec<String> {
    field.items().iter().filter_map(|item| item.some_parsed(route)).collect()
}

/// A misspelt group would open nothing, and a star in the middle is none in LiteLLM.
fn route(text: &str) -> Result<String, &'static str> {
    let fits = is_route_rule(text) && !text.trim_end_matches('*').contains('*');
    fits.then(|| text.to_owned())
        .ok_or("expected a path such as /v1/embeddings or /v1/files/*, or a group such as openai_routes")
}

/// Two options of which neither means anything alone.
fn both<'r>(section: &Section<'r>, one: &'static str, other: &'static str) -> Option<(Field<'r>, Field<'r>)> {
    let missing = |key, given| section.mistake(key, format!("is missing: {given} needs it"));
    match (section.field(one), section.field(other)) {
        (Some(one), Some(other)) => return Some((one, other)),
        (Some(_), None) => missing(other, one),
        (None, Some(_)) => missing(one, other),
        (None, None) => {}
    }
    None
}
