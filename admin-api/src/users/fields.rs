//! Every field that LiteLLM takes for a user.

use crate::keys::fields::{Absent, Field, Kind, Place, field, setting};

/// The fields that making and updating a user have in common.
pub(crate) const USER_FIELDS: &[Field] = &[
    field("user_email", Kind::Text, Absent::Null, Place::Column),
    field("user_alias", Kind::Text, Absent::Null, Place::Column),
    field(
        "user_role",
        Kind::Choice(&["proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer"]),
        Absent::Null,
        Place::Column,
    ),
    field("models", Kind::Texts, Absent::EmptyList, Place::Column),
    field("spend", Kind::Amount, Absent::Null, Place::Column),
    field("metadata", Kind::Object, Absent::EmptyObject, Place::Settings),
    field("model_max_budget", Kind::Object, Absent::EmptyObject, Place::Settings),
    field("allowed_cache_controls", Kind::List, Absent::EmptyList, Place::Settings),
    field("config", Kind::Object, Absent::EmptyObject, Place::Settings),
    field("permissions", Kind::Object, Absent::EmptyObject, Place::Settings),
    setting("max_budget", Kind::Amount),
    setting("soft_budget", Kind::Amount),
    setting("budget_duration", Kind::Duration),
    setting("budget_id", Kind::Text),
    setting("tpm_limit", Kind::Count),
    setting("rpm_limit", Kind::Count),
    setting("max_parallel_requests", Kind::Count),
    setting("model_rpm_limit", Kind::CountMap),
    setting("model_tpm_limit", Kind::CountMap),
    setting("guardrails", Kind::Texts),
    setting("policies", Kind::Texts),
    setting("prompts", Kind::Texts),
    setting("object_permission", Kind::Object),
    setting("organizations", Kind::Texts),
    setting("sso_user_id", Kind::Text),
];

/// What `/user/new` takes beside [`USER_FIELDS`]: who they are, which teams they join, and what only their first key is told.
pub(crate) const NEW_USER_FIELDS: &[Field] = &[
    field("user_id", Kind::Text, Absent::Null, Place::Request),
    field("teams", Kind::Texts, Absent::Null, Place::Request),
    field("auto_create_key", Kind::Flag, Absent::Null, Place::Request),
    field("send_invite_email", Kind::Flag, Absent::Null, Place::Request),
    field("key_alias", Kind::Text, Absent::Null, Place::Request),
    field("duration", Kind::Duration, Absent::Null, Place::Request),
    field("aliases", Kind::TextMap, Absent::Null, Place::Request),
    field("blocked", Kind::Flag, Absent::Null, Place::Request),
    field("team_id", Kind::Text, Absent::Null, Place::Request),
    field("organization_id", Kind::Text, Absent::Null, Place::Request),
];

/// What `/user/update` takes beside [`USER_FIELDS`].
pub(crate) const UPDATE_USER_FIELDS: &[Field] = &[field("user_id", Kind::Text, Absent::Null, Place::Request)];
