//! Every reason to say no, once.
//!
//! A stage that refuses returns a [`Denial`]; [`crate::answer`] is the only place that turns one into a status and a
//! body. What the caller may read and what only the log may know are apart: [`Denial::cause`] is for the log.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::authn::custom::CustomRefusal;

/// A limit, by whose it is and LiteLLM's name for it. Holds nothing of the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitName {
    /// `key`, `user`, `team`, `team_member`, `organization` or `end_user`.
    pub scope: &'static str,
    /// The field that holds it: `rpm_limit`, `max_budget`.
    pub field: &'static str,
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of the {}", self.field, self.scope.replace('_', " "))
    }
}

/// Why a request was refused. There is no third outcome beside a permit and a denial.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The request breaks HTTP or our stricter reading of it; the connection is closed after the answer.
    #[error("malformed request: {0}")]
    MalformedRequest(&'static str),
    /// Two lines of one credential header with different values.
    #[error("conflicting values of one credential header")]
    ConflictingCredentials,
    /// No slot of the request holds anything.
    #[error("no credential")]
    MissingCredential,
    /// A slot holds something that cannot be read as a credential (no scheme, too long, empty after the scheme).
    #[error("malformed credential: {0}")]
    MalformedCredential(&'static str),
    /// Well formed, but nobody here knows it.
    #[error("unrecognised credential: {0}")]
    UnrecognizedCredential(&'static str),
    /// The virtual key's time is over.
    #[error("expired key")]
    ExpiredKey,
    /// The virtual key is blocked.
    #[error("blocked key")]
    BlockedKey,
    /// The virtual key's team is blocked.
    #[error("blocked team")]
    BlockedTeam,
    /// A token that is not believed: its form, its signature, its issuer or what it says. The word is for the log.
    #[error("invalid token: {0}")]
    InvalidToken(&'static str),
    /// A token that was good until its time was over.
    #[error("expired token")]
    ExpiredToken,
    /// A good token that was taken back: by `jti`, `sub` or `sid`, or by a logout at its issuer.
    #[error("revoked token")]
    RevokedToken,
    /// A token that is bound to a key, without the proof that its bearer has it, or one that is not, presented as if it
    /// were (RFC 9449). The word is for the log.
    #[error("invalid proof of possession: {0}")]
    InvalidProof(&'static str),
    /// The token proves somebody whom nobody knows here: a user or a team without a row.
    #[error("unknown identity: {0}")]
    UnknownIdentity(&'static str),
    /// The token proves somebody who may not come in: the domain of the address, a role, a scope, a team.
    #[error("identity forbidden: {0}")]
    IdentityForbidden(&'static str),
    /// The keys of the token's issuer cannot be had.
    #[error("issuer unavailable: {0}")]
    IssuerUnavailable(&'static str),
    /// The operator's own code refuses the caller, in its own words.
    #[error("refused by custom authentication: {}", .0.status)]
    CustomRefused(Box<CustomRefusal>),
    /// The operator's own code gives no answer that counts: it is away, too slow, broken, or says nonsense.
    #[error("custom authentication unavailable: {0}")]
    CustomUnavailable(&'static str),
    /// Too many failed credentials came from this source; known credentials still pass.
    #[error("too many failed credentials from one source")]
    TooManyFailures {
        /// When another try makes sense.
        retry_after: Duration,
    },
    /// Whoever describes somebody else's request is none of the operator's proxies.
    #[error("the original request is described by a peer outside general_settings.trusted_proxy_ranges")]
    UntrustedProxy,
    /// No such path here.
    #[error("no such route")]
    UnknownRoute,
    /// The path exists, the method does not.
    #[error("method not allowed")]
    MethodNotAllowed,
    /// The path exists, but this gateway was told not to serve it to anybody.
    #[error("route closed by configuration")]
    RouteClosed,
    /// Requests from this address are not served to anybody.
    #[error("address outside general_settings.allowed_ips")]
    SourceForbidden,
    /// The principal may not call this route.
    #[error("route forbidden")]
    RouteForbidden,
    /// The principal may not use this model, whether it exists or not.
    #[error("model forbidden: {0}")]
    ModelForbidden(String),
    /// The key's team may not use this model, whether it exists or not.
    #[error("model forbidden to the team: {0}")]
    TeamModelForbidden(String),
    /// The key's owner may not use this model, whether it exists or not.
    #[error("model forbidden to the user: {0}")]
    UserModelForbidden(String),
    /// The principal may use any such model, but none of this name is configured.
    #[error("unknown model: {}", .0.as_deref().unwrap_or("none is named"))]
    UnknownModel(Option<String>),
    /// The model's provider does not speak the dialect of the path; nothing is translated.
    #[error("model {0} is not served in this dialect")]
    UnsupportedDialect(String),
    /// The body cannot be read as what the path asks for.
    #[error("unreadable body: {0}")]
    UnreadableBody(Cow<'static, str>),
    /// A body field that would change where the request goes or with which credential.
    #[error("body field {0} is not allowed")]
    ForbiddenField(String),
    /// A body member that the caller may bring says something that cannot be sent: its name, and what is wrong with it.
    #[error("invalid body member: {0} {1}")]
    InvalidField(&'static str, &'static str),
    /// The address that the caller chose is not one that is dialled for a client. The word is for the log.
    #[error("forbidden destination: {0}")]
    ForbiddenDestination(&'static str),
    /// More has been spent than may be.
    #[error("over budget: {0}")]
    OverBudget(LimitName),
    /// As many requests were made, or are under way, as may be; which limit.
    #[error("rate limited: {limit}")]
    RateLimited {
        /// Which limit.
        limit: LimitName,
        /// When another try makes sense.
        retry_after: Duration,
    },
    /// The body is larger than this listener takes.
    #[error("body over {0} bytes")]
    BodyTooLarge(u64),
    /// The body did not arrive in time.
    #[error("body not complete in time")]
    BodyTimeout,
    /// The process holds as many bytes or requests as it was told to.
    #[error("overloaded: {0}")]
    Overloaded(&'static str),
    /// The key store cannot be asked, and the key is not known here.
    #[error("store unavailable: {0}")]
    StoreUnavailable(String),
    /// Every upstream of the model failed or is cooling down.
    #[error("no upstream for {model}: {cause}")]
    UpstreamUnavailable {
        /// The model that was asked for.
        model: String,
        /// What went wrong last; for the log.
        cause: String,
    },
    /// The upstream did not answer within its time.
    #[error("upstream time-out")]
    UpstreamTimeout,
}

impl Denial {
    /// A stable word for metrics and the log's `denial` field. Bounded: no value carries caller input.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::MalformedRequest(_) => "malformed_request",
            Self::ConflictingCredentials => "conflicting_credentials",
            Self::MissingCredential => "missing_credential",
            Self::MalformedCredential(_) => "malformed_credential",
            Self::UnrecognizedCredential(_) => "unrecognized_credential",
            Self::ExpiredKey => "expired_key",
            Self::BlockedKey => "blocked_key",
            Self::BlockedTeam => "blocked_team",
            Self::InvalidToken(_) => "invalid_token",
            Self::ExpiredToken => "expired_token",
            Self::RevokedToken => "revoked_token",
            Self::InvalidProof(_) => "invalid_proof",
            Self::UnknownIdentity(_) => "unknown_identity",
            Self::IdentityForbidden(_) => "identity_forbidden",
            Self::IssuerUnavailable(_) => "issuer_unavailable",
            Self::CustomRefused(_) => "custom_refused",
            Self::CustomUnavailable(_) => "custom_unavailable",
            Self::TooManyFailures { .. } => "too_many_failures",
            Self::UntrustedProxy => "untrusted_proxy",
            Self::UnknownRoute => "unknown_route",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::RouteClosed => "route_closed",
            Self::SourceForbidden => "source_forbidden",
            Self::RouteForbidden => "route_forbidden",
            Self::ModelForbidden(_) => "model_forbidden",
            Self::TeamModelForbidden(_) => "team_model_forbidden",
            Self::UserModelForbidden(_) => "user_model_forbidden",
            Self::UnknownModel(_) => "unknown_model",
            Self::UnsupportedDialect(_) => "unsupported_dialect",
            Self::UnreadableBody(_) => "unreadable_body",
            Self::ForbiddenField(_) => "forbidden_field",
            Self::InvalidField(..) => "invalid_field",
            Self::ForbiddenDestination(_) => "forbidden_destination",
            Self::OverBudget(_) => "over_budget",
            Self::RateLimited { .. } => "rate_limited",
            Self::BodyTooLarge(_) => "body_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::Overloaded(_) => "overloaded",
            Self::StoreUnavailable(_) => "store_unavailable",
            Self::UpstreamUnavailable { .. } => "upstream_unavailable",
            Self::UpstreamTimeout => "upstream_timeout",
        }
    }

    /// What the operator's log says about it; never sent to the caller.
    #[must_use]
    pub fn cause(&self) -> String {
        self.to_string()
    }
}
