//! The OpenAPI document beside the endpoints: its head, and the schemas of bodies that are not Rust types.
//!
//! Requests and answers about keys are made from the table in [`keys::fields`](crate::keys::fields), and so are their
//! schemas: a field that is accepted is documented, and the other way round.

use std::borrow::Cow;

use portcullis_filters::authn::jwt::deny_list::DeniedClaim;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, KnownFormat, Object, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Paths, RefOr, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};

use crate::keys::fields::{Field, GENERATE_FIELDS, KEY_FIELDS, Kind, Place, ROTATE_FIELDS, UPDATE_FIELDS};
use crate::routes::Role;
use crate::teams::fields::{
    ADD_MEMBER_FIELDS, DELETE_MEMBER_FIELDS, MEMBER_FIELDS, NEW_TEAM_FIELDS, TEAM_FIELDS, UPDATE_MEMBER_FIELDS,
    UPDATE_TEAM_FIELDS,
};
use crate::users::fields::{NEW_USER_FIELDS, UPDATE_USER_FIELDS, USER_FIELDS};

/// The document without its paths.
pub(crate) fn open_api() -> OpenApi {
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let about = "Virtual keys, users, teams, denied tokens, audit log and health. Paths, fields and answers are those of LiteLLM's proxy.";
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Portcullis management API")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(about)),
        )
        .components(Some(ComponentsBuilder::new().security_scheme("key", bearer).build()))
        .security(Some([utoipa::openapi::security::SecurityRequirement::new("key", Vec::<String>::new())]))
        .build()
}

/// Adds what the role of a route answers to callers without it.
pub(crate) fn refusals(paths: &mut Paths, role: Role) {
    let mut refusals = vec![("401", "No credential, or one that is not known, expired or blocked")];
    match role {
        Role::Open | Role::Signed => return,
        Role::AnyKey => refusals.push(("403", "Not open to this key")),
        Role::Own => refusals.push(("403", "Open to whoever has a role, and there to what is theirs")),
        Role::Manage => refusals.push(("403", "Open to the operator, and to users for what is theirs")),
        Role::Read => refusals.push(("403", "Open to the operator and to who sees what they see")),
        Role::Admin => refusals.push(("403", "Open to the operator only")),
    }
    for operation in paths.paths.values_mut().flat_map(|item| [&mut item.get, &mut item.post]).flatten() {
        for (status, description) in &refusals {
            let response = ResponseBuilder::new().description(*description).build();
            operation.responses.responses.entry((*status).to_owned()).or_insert_with(|| response.into());
        }
    }
}

/// A schema of this document, made by a function.
macro_rules! schema {
    ($($(#[$meta:meta])* $name:ident = $schema:expr;)*) => {$(
        $(#[$meta])*
        pub(crate) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                Schema::from($schema).into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )*};
}

schema! {
    /// Body of `/key/generate`.
    GenerateKeyRequest = request(&[KEY_FIELDS, GENERATE_FIELDS]);
    /// Body of `/key/update`.
    UpdateKeyRequest = request(&[KEY_FIELDS, UPDATE_FIELDS]);
    /// Body of the regenerate routes.
    RegenerateKeyRequest = request(&[KEY_FIELDS, ROTATE_FIELDS]);
    /// Body of `/key/bulk_update`.
    BulkUpdateRequest = ObjectBuilder::new().property("keys", list(request(&[KEY_FIELDS, UPDATE_FIELDS]))).required("keys");
    /// A key by its string or hash.
    NamedKey = ObjectBuilder::new().property("key", text("The key or its hash")).required("key");
    /// Keys by string or hash.
    KeysRequest = ObjectBuilder::new().property("keys", list(text("A key or its hash"))).required("keys");
    /// Keys by string or hash, or by alias.
    DeleteKeysRequest = ObjectBuilder::new()
        .property("keys", list(text("A key or its hash")))
        .property("key_aliases", list(text("An alias")));
    /// A key and its string.
    NewKey = details()
        .property("key", text("The key string, shown this once"))
        .property("token_id", text("The key's hash"));
    /// A key as stored.
    KeyDetails = details();
    /// A key and its state.
    KeyInfo = ObjectBuilder::new().property("key", text("As it was named")).property("info", state());
    /// Keys and their states.
    KeyInfos = ObjectBuilder::new()
        .property("key", list(text("As it was named")))
        .property("info", list(state()));
    /// A page of keys.
    KeyPage = page().property("keys", ArrayBuilder::new().description(Some("Hashes, or whole keys if asked for")));
    /// A page of aliases.
    AliasPage = page().property("aliases", list(text("An alias"))).property("size", typed(Type::Integer));
    /// Body of `/team/new`.
    NewTeamRequest = request(&[TEAM_FIELDS, NEW_TEAM_FIELDS]);
    /// Body of `/team/update`.
    UpdateTeamRequest = request(&[TEAM_FIELDS, UPDATE_TEAM_FIELDS]).required("team_id");
    /// Body of `/team/member_add`; `member` is one, or a list of them.
    AddMemberRequest = request(&[MEMBER_FIELDS, ADD_MEMBER_FIELDS]).required("team_id").required("member");
    /// Body of `/team/member_update`.
    UpdateMemberRequest = request(&[MEMBER_FIELDS, UPDATE_MEMBER_FIELDS]).required("team_id");
    /// Body of `/team/member_delete`.
    DeleteMemberRequest = request(&[DELETE_MEMBER_FIELDS]).required("team_id");
    /// A member after a change.
    UpdatedMember = request(&[MEMBER_FIELDS, UPDATE_MEMBER_FIELDS]);
    /// A team after members were added: the fields of a team, `updated_users` and `updated_team_memberships`.
    TeamWithMembers = team();
    /// A team by its id.
    NamedTeam = ObjectBuilder::new().property("team_id", text("The team's id")).required("team_id");
    /// Teams by their ids.
    TeamsRequest = ObjectBuilder::new().property("team_ids", list(text("A team's id"))).required("team_ids");
    /// A team as stored.
    TeamDetails = team();
    /// A team after a change.
    UpdatedTeam = ObjectBuilder::new().property("team_id", typed(Type::String)).property("data", team());
    /// A team, its newest keys and its memberships.
    TeamInfo = ObjectBuilder::new()
        .property("team_id", typed(Type::String))
        .property("team_info", team())
        .property("keys", list(state()))
        .property("team_memberships", list(typed(Type::Object)));
    /// A page of teams.
    TeamPage = ["total", "page", "page_size", "total_pages"].into_iter()
        .fold(ObjectBuilder::new(), |page, name| page.property(name, typed(Type::Integer)))
        .property("teams", list(team()));
    /// Body of `/user/new`.
    NewUserRequest = request(&[USER_FIELDS, NEW_USER_FIELDS]);
    /// Body of `/user/update`.
    UpdateUserRequest = request(&[USER_FIELDS, UPDATE_USER_FIELDS]).required("user_id");
    /// Users by their ids.
    UsersRequest = ObjectBuilder::new().property("user_ids", list(text("A user's id"))).required("user_ids");
    /// A user and the string of their first key.
    NewUser = user()
        .property("key", text("The key string, shown this once; null without a key"))
        .property("token", text("The key's hash"))
        .property("teams", list(typed(Type::String)));
    /// A user after a change.
    UpdatedUser = ObjectBuilder::new().property("user_id", typed(Type::String)).property("data", user());
    /// A user, their newest keys and their newest teams.
    UserInfo = ObjectBuilder::new()
        .property("user_id", typed(Type::String))
        .property("user_info", user())
        .property("keys", list(state()))
        .property("teams", list(team()));
    /// A page of users.
    UserPage = ["total", "page", "page_size", "total_pages"].into_iter()
        .fold(ObjectBuilder::new(), |page, name| page.property(name, typed(Type::Integer)))
        .property("users", list(user()));
    /// Body of `/token/deny`: exactly one of `jti`, `sub` and `sid`.
    DenyTokenRequest = named_token()
        .property("issued_until", instant("Only tokens issued until then; left out: all"))
        .property("duration", text("How long the denial counts, such as 24h; left out: 24h"))
        .property("until", instant("Until when it counts, in place of `duration`"))
        .property("reason", text("Why, for whoever reads the list"));
    /// Body of `/token/allow`: exactly one of `jti`, `sub` and `sid`.
    AllowTokenRequest = named_token();
    /// A denial of tokens.
    DeniedTokens = denial();
    /// A page of the deny list.
    DeniedPage = page().property("denied", list(denial()));
    /// Body of `/sso/backchannel-logout`.
    LogoutRequest = ObjectBuilder::new()
        .property("logout_token", text("A logout token (OpenID Connect Back-Channel Logout 1.0, section 2.4)"))
        .required("logout_token");
    /// One audit row.
    AuditEntry = entry();
    /// A page of the audit log.
    AuditPage = ["total", "page", "page_size", "total_pages"].into_iter()
        .fold(ObjectBuilder::new(), |page, name| page.property(name, typed(Type::Integer)))
        .property("audit_logs", list(entry()));
}

fn request(tables: &[&[Field]]) -> ObjectBuilder {
    let fields = tables.iter().flat_map(|table| table.iter());
    let object = fields.fold(ObjectBuilder::new(), |object, field| object.property(field.name, of_kind(field.kind)));
    object.additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

fn named_token() -> ObjectBuilder {
    ObjectBuilder::new()
        .property("issuer", text("The tokens' `iss`, exactly; empty for tokens without one"))
        .property("jti", text("One token"))
        .property("sub", text("All tokens of a subject"))
        .property("sid", text("All tokens of a session at the issuer"))
        .required("issuer")
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

fn denial() -> ObjectBuilder {
    let texts = ["issuer", "value", "created_by", "reason"].into_iter();
    let times = ["issued_until", "until", "created_at"].into_iter();
    let denial = ObjectBuilder::new().property("claim", words(&DeniedClaim::ALL.map(DeniedClaim::name)));
    let denial = texts.fold(denial, |denial, name| denial.property(name, typed(Type::String)));
    times.fold(denial, |denial, name| denial.property(name, of_format(KnownFormat::DateTime)))
}

fn instant(description: &str) -> Object {
    let types = SchemaType::Array(vec![Type::String, Type::Integer]);
    let description = format!("{description}. ISO 8601, or seconds since 1970 as in a token");
    ObjectBuilder::new().schema_type(types).description(Some(description)).build()
}

fn details() -> ObjectBuilder {
    const TIMES: [&str; 5] = ["budget_reset_at", "expires", "last_rotation_at", "created_at", "updated_at"];
    let fields = KEY_FIELDS.iter().filter(|field| field.place != Place::Request && field.name != "duration");
    let object = fields.fold(ObjectBuilder::new(), |object, field| object.property(field.name, of_kind(field.kind)));
    let object = TIMES.into_iter().fold(object, |object, name| object.property(name, of_format(KnownFormat::DateTime)));
    object
        .property("token", text("The key's hash"))
        .property("key_name", text("What may be shown of the key"))
        .property("created_by", typed(Type::String))
        .property("updated_by", typed(Type::String))
        .property("rotation_count", typed(Type::Integer))
}

fn team() -> ObjectBuilder {
    let object =
        TEAM_FIELDS.iter().fold(ObjectBuilder::new(), |object, field| object.property(field.name, of_kind(field.kind)));
    object
        .property("team_id", typed(Type::String))
        .property("spend", typed(Type::Number))
        .property("members_with_roles", list(typed(Type::Object)))
        .property("created_at", of_format(KnownFormat::DateTime))
        .property("updated_at", of_format(KnownFormat::DateTime))
}

fn user() -> ObjectBuilder {
    let object =
        USER_FIELDS.iter().fold(ObjectBuilder::new(), |object, field| object.property(field.name, of_kind(field.kind)));
    object
        .property("user_id", typed(Type::String))
        .property("created_at", of_format(KnownFormat::DateTime))
        .property("updated_at", of_format(KnownFormat::DateTime))
}

fn state() -> ObjectBuilder {
    details().property("status", words(&["active", "expired", "revoked", "deleted"]))
}

fn page() -> ObjectBuilder {
    let counts = ["total_count", "current_page", "total_pages"].into_iter();
    counts.fold(ObjectBuilder::new(), |page, name| page.property(name, typed(Type::Integer)))
}

fn entry() -> ObjectBuilder {
    ["id", "changed_by", "litellm_changed_by", "source", "request_id", "action", "table_name", "object_id"]
        .into_iter()
        .fold(ObjectBuilder::new(), |entry, name| entry.property(name, typed(Type::String)))
        .property("updated_at", of_format(KnownFormat::DateTime))
        .property("before_value", typed(Type::Object))
        .property("updated_values", typed(Type::Object))
}

fn of_kind(kind: Kind) -> Schema {
    match kind {
        Kind::Text => typed(Type::String).into(),
        Kind::Flag => typed(Type::Boolean).into(),
        Kind::Count => typed(Type::Integer).into(),
        Kind::Amount => typed(Type::Number).into(),
        Kind::Texts => list(typed(Type::String)).into(),
        Kind::List => ArrayBuilder::new().into(),
        Kind::Object | Kind::OneOrMany => typed(Type::Object).into(),
        Kind::TextMap => map(Type::String).into(),
        Kind::CountMap => map(Type::Integer).into(),
        Kind::Duration => text("Such as 30s, 24h, 7d, 1mo").into(),
        Kind::Choice(choices) => words(choices).into(),
    }
}

fn typed(of: Type) -> Object {
    Object::with_type(SchemaType::Type(of))
}

fn text(description: &str) -> Object {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description)).build()
}

fn words(words: &[&str]) -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.iter().copied())).build()
}

fn of_format(format: KnownFormat) -> Object {
    ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(format))).build()
}

fn map(of: Type) -> ObjectBuilder {
    ObjectBuilder::new().additional_properties(Some(Schema::from(typed(of))))
}

fn list(items: impl Into<RefOr<Schema>>) -> ArrayBuilder {
    ArrayBuilder::new().items(items.into())
}
