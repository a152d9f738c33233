//! Every field that LiteLLM takes for a team.

use crate::keys::fields::{Absent, Field, Kind, Place, field, setting};

/// The fields that making and updating a team have in common.
pub(crate) const TEAM_FIELDS: &[Field] = &[
    field("team_alias", Kind::Text, Absent::Null, Place::Column),
    field("organization_id", Kind::Text, Absent::Null, Place::Column),
    field("models", Kind::Texts, Absent::EmptyList, Place::Column),
    field("blocked", Kind::Flag, Absent::False, Place::Column),
    field("metadata", Kind::Object, Absent::EmptyObject, Place::Settings),
    field("admins", Kind::List, Absent::EmptyList, Place::Settings),
    field("members", Kind::List, Absent::EmptyList, Place::Settings),
    field("team_member_permissions", Kind::Texts, Absent::EmptyList, Place::Settings),
    setting("tpm_limit", Kind::Count),
    setting("rpm_limit", Kind::Count),
    setting("max_parallel_requests", Kind::Count),
    setting("max_budget", Kind::Amount),
    setting("soft_budget", Kind::Amount),
    setting("budget_duration", Kind::Duration),
    setting("budget_limits", Kind::List),
    setting("model_max_budget", Kind::Object),
    setting("model_rpm_limit", Kind::CountMap),
    setting("model_tpm_limit", Kind::CountMap),
    setting("rpm_limit_type", Kind::Text),
    setting("tpm_limit_type", Kind::Text),
    setting("team_member_budget", Kind::Amount),
    setting("team_member_budget_duration", Kind::Duration),
    setting("team_member_rpm_limit", Kind::Count),
    setting("team_member_tpm_limit", Kind::Count),
    setting("team_member_key_duration", Kind::Duration),
    setting("default_team_member_models", Kind::Texts),
    setting("model_aliases", Kind::Object),
    setting("tags", Kind::Texts),
    setting("guardrails", Kind::Texts),
    setting("disable_global_guardrails", Kind::Flag),
    setting("policies", Kind::Texts),
    setting("prompts", Kind::Texts),
    setting("object_permission", Kind::Object),
    setting("access_group_ids", Kind::Texts),
    setting("allowed_passthrough_routes", Kind::List),
    setting("allowed_vector_store_indexes", Kind::List),
    setting("router_settings", Kind::Object),
    setting("secret_manager_settings", Kind::Object),
    setting("enforced_batch_output_expires_after", Kind::Object),
    setting("enforced_file_expires_after", Kind::Object),
];

/// What `/team/new` takes beside [`TEAM_FIELDS`].
pub(crate) const NEW_TEAM_FIELDS: &[Field] = &[
    field("team_id", Kind::Text, Absent::Null, Place::Request),
    field("members_with_roles", Kind::List, Absent::Null, Place::Request),
];

/// What `/team/update` takes beside [`TEAM_FIELDS`].
pub(crate) const UPDATE_TEAM_FIELDS: &[Field] = &[field("team_id", Kind::Text, Absent::Null, Place::Request)];

/// What bounds a member within a team. `max_budget_in_team` is what the decision reads of them.
pub(crate) const MEMBER_FIELDS: &[Field] = &[
    setting("max_budget_in_team", Kind::Amount),
    setting("tpm_limit", Kind::Count),
    setting("rpm_limit", Kind::Count),
    setting("budget_duration", Kind::Duration),
];

/// What `/team/member_add` takes beside [`MEMBER_FIELDS`].
pub(crate) const ADD_MEMBER_FIELDS: &[Field] = &[
    field("team_id", Kind::Text, Absent::Null, Place::Request),
    field("member", Kind::OneOrMany, Absent::Null, Place::Request),
];

/// What `/team/member_update` takes beside [`MEMBER_FIELDS`].
pub(crate) const UPDATE_MEMBER_FIELDS: &[Field] = &[
    field("team_id", Kind::Text, Absent::Null, Place::Request),
    field("user_id", Kind::Text, Absent::Null, Place::Request),
    field("user_email", Kind::Text, Absent::Null, Place::Request),
    field("role", Kind::Choice(&["admin", "user"]), Absent::Null, Place::Request),
];

/// What `/team/member_delete` takes.
pub(crate) const DELETE_MEMBER_FIELDS: &[Field] = &[
    field("team_id", Kind::Text, Absent::Null, Place::Request),
    field("user_id", Kind::Text, Absent::Null, Place::Request),
    field("user_email", Kind::Text, Absent::Null, Place::Request),
];
