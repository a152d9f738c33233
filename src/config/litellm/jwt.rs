//! What LiteLLM's `litellm_jwtauth` may hold beside the options that are honoured.

use super::{IDENTITY, LATER};
use crate::config::known::Known;

const KEY_OF_TOKEN: &str =
    "a token is not exchanged for a virtual key by this version: remove it to start without the key's restrictions";
const ROLE_MAP: &str =
    "roles and teams are not written into the store by a token: remove it, and map roles with role_mappings";

/// `general_settings.litellm_jwtauth`, and the `claims` of our own issuers.
pub(in crate::config) const JWT: Known = Known {
    ignored: "virtual_key_mapping_cache_ttl",
    unserved: &[
        ("auto_register_map_existing_key", "no key is made for a token"),
        ("id_jag_requesting_apps", "tokens of the type oauth-id-jag+jwt are always refused"),
        ("mcp_client_id_jwt_field", "MCP servers are not served"),
        ("public_allowed_routes", "no further route is opened without a role"),
        ("team_claim_fallback", "a token whose team is not known is refused"),
        ("upsert_sso_user_to_team", "nobody is made a member of a team by signing in"),
    ],
    refused: &[
        ("agent_id_jwt_field", LATER),
        ("custom_validate", IDENTITY),
        (
            "fallback_to_db_teams",
            "teams come from the token only: remove it to start without the restrictions of others",
        ),
        ("jwt_client_id_field", KEY_OF_TOKEN),
        ("jwt_litellm_role_map", ROLE_MAP),
        (
            "org_alias_jwt_field",
            "organisations are not looked up by name: name the claim that holds the id, org_id_jwt_field",
        ),
        ("routing_overrides", IDENTITY),
        ("sync_user_role_and_teams", ROLE_MAP),
        ("unregistered_jwt_client_behavior", KEY_OF_TOKEN),
        ("virtual_key_claim_field", KEY_OF_TOKEN),
    ],
    open: false,
};

/// One entry of `litellm_jwtauth.issuers`.
pub(in crate::config) const JWT_ISSUER: Known = Known {
    ignored: "",
    unserved: &[],
    refused: &[("unregistered_jwt_client_behavior", KEY_OF_TOKEN), ("virtual_key_claim_field", KEY_OF_TOKEN)],
    open: false,
};
