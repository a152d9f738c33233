//! Custom authentication: the operator's own code decides who is calling.
//!
//! [`CustomAuthenticator`] is the one open extension point of this crate. Whoever implements it (the workers that run a
//! Python function, a web hook, another Pingora service's own code) has four answers, and no answer is none of them. What it
//! vouches for goes through the same authorisation and limits as everybody else.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use http::HeaderName;

use super::Step;
use super::failures::{FailureSettings, FailureThrottle};
use super::virtual_key::{KeyHash, StoreUnavailable};
use crate::credential::{Credential, NO_SCHEME};
use crate::denial::Denial;
use crate::directory::{Directory, Enrolment, Membership, TeamName, TeamRecord, UserRecord};
use crate::head::RequestHead;
use crate::principal::{CustomPrincipal, Principal};
use crate::secret::Secret;

mod answer;
mod cache;
mod identity;

pub use answer::REFUSED;
use cache::KeptAnswers;
pub use identity::{CustomIdentity, NotAnIdentity};

/// Decides who is calling, by rules that are not ours.
pub trait CustomAuthenticator: Send + Sync + 'static {
    /// Who makes this request. Ends within some seconds, well or badly; a future that is dropped costs nothing further.
    fn authenticate<'a>(&'a self, request: CustomRequest<'a>)
    -> BoxFuture<'a, Result<CustomAnswer, CustomUnavailable>>;

    /// Whether the body of a request is to be read before it is asked. Then anybody can have a body read.
    fn reads_body(&self) -> bool {
        false
    }
}

/// What a custom authenticator may look at.
#[derive(Clone, Copy)]
pub struct CustomRequest<'a> {
    /// The head, credentials included.
    pub head: &'a RequestHead<'a>,
    /// The text of the credential that counts. `None`: there is none at all; empty: there is one without its scheme
    /// (LiteLLM's distinction: contract 04, section 2).
    pub credential: Option<&'a str>,
    /// The whole body, where [`CustomAuthenticator::reads_body`] asked for it.
    pub body: Option<&'a Bytes>,
    /// The time of the decision.
    pub now: SystemTime,
}

/// What a custom authenticator says, and whether it may be remembered.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomAnswer {
    /// What it says.
    pub verdict: Verdict,
    /// For how long, and for which other requests the same would be said; `None`: for this request only.
    pub keep: Option<Keep>,
}

/// Whom the credential belongs to.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It proves this identity.
    Proven(Box<CustomIdentity>),
    /// It stands for this master or virtual key, which decides (a function that returns a string).
    Key(Secret),
    /// It is none of the authenticator's: somebody else may know it.
    NotMine,
    /// It is bad, or whoever has it may not come in.
    Refused {
        /// The answer to the caller.
        refusal: CustomRefusal,
        /// Whether it stands whatever others would say, also where others are asked after a refusal.
        stands: bool,
    },
}

/// How the operator's code words its refusal. All of it is for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomRefusal {
    /// The status; 400 to 499, anything else was made 403.
    pub status: u16,
    /// OpenAI's `type`; `auth_error` where the code has no own word.
    pub kind: String,
    /// OpenAI's `param`.
    pub param: Option<String>,
    /// The sentence.
    pub message: String,
}

/// For which requests an answer holds: those with the same credential and the same values of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// How long; cut to five minutes.
    pub ttl: Duration,
    /// What the answer depends on beside the credential.
    pub facets: Vec<Facet>,
}

/// A part of a request that an answer may depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Facet {
    /// All values of a header.
    Header(HeaderName),
    /// The method.
    Method,
    /// The canonical path.
    Path,
    /// The query.
    Query,
    /// The client's address.
    Source,
}

/// There is no answer: a time-out, a crash, an overload, an answer that is none. Never a statement about the credential;
/// the word is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CustomUnavailable(pub &'static str);

/// How custom authentication stands beside the other methods (LiteLLM's `custom_auth_settings.mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It replaces them.
    #[default]
    On,
    /// They are asked when it refuses a credential, but not when it cannot answer.
    Auto,
}

/// How it is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomSettings {
    /// Beside or instead of the other methods.
    pub mode: Mode,
    /// With [`Mode::Auto`]: a credential that is a good master or virtual key does not wait for it.
    pub keys_first: bool,
    /// Whether the user and the team that an identity names are looked up, and must allow the call
    /// (`custom_auth_run_common_checks`).
    pub common_checks: bool,
    /// Answers to how many credentials are remembered, where they say that they may be.
    pub max_kept: u64,
}

/// The operator's own code as the chain asks it.
pub struct CustomChain {
    authenticator: Arc<dyn CustomAuthenticator>,
    settings: CustomSettings,
    directory: Arc<dyn Directory>,
    kept: KeptAnswers,
    failures: Arc<FailureThrottle>,
    /// Credentials that were proven lately: they are asked about however many bad ones come from the same address.
    good: quick_cache::sync::Cache<KeyHash, ()>,
}

/// How many such credentials are known.
const MAX_GOOD: u64 = 50_000;

/// What it said, as the chain goes on by it.
pub(super) enum Said {
    Proven(Principal),
    Key(Secret),
    AskOthers,
}

impl CustomChain {
    /// Asks `authenticator` as `settings` say. `directory` knows the users and teams that an identity may name. Answers belong
    /// to this chain: another one, made at a reload, asks anew.
    #[must_use]
    pub fn new(
        authenticator: Arc<dyn CustomAuthenticator>,
        settings: CustomSettings,
        directory: Arc<dyn Directory>,
        failures: Arc<FailureThrottle>,
    ) -> Self {
        let kept = KeptAnswers::new(settings.max_kept);
        Self { authenticator, settings, directory, kept, failures, good: crate::cache::bounded(MAX_GOOD) }
    }

    /// Asks `authenticator` and nobody else, and remembers nothing.
    #[must_use]
    pub fn alone(authenticator: Arc<dyn CustomAuthenticator>) -> Self {
        let failures = Arc::new(FailureThrottle::new(FailureSettings::default()));
        Self::new(authenticator, CustomSettings::default(), Arc::new(Nobody), failures)
    }

    pub(super) fn reads_body(&self) -> bool {
        self.authenticator.reads_body()
    }

    pub(super) fn asks_keys_first(&self) -> bool {
        self.settings.keys_first && self.settings.mode == Mode::Auto
    }

    pub(super) async fn ask(
        &self,
        head: &RequestHead<'_>,
        extracted: &Result<Credential<'_>, Denial>,
        body: Option<&Bytes>,
        now: SystemTime,
        saw: &mut (impl FnMut(&'static str, Step) + Send),
    ) -> Result<Said, Denial> {
        let credential = match extracted {
            Ok(credential) => Some(credential.text),
            Err(Denial::MissingCredential) => None,
            Err(Denial::MalformedCredential(NO_SCHEME)) => Some(""),
            Err(denial) => return Err(denial.clone()),
        };
        let said = self.judge(CustomRequest { head, credential, body, now }).await;
        saw("custom", Step::of_custom(&said));
        said
    }

    /// Only an explicit allow is an allow; what is no answer ends the request, in either mode.
    async fn judge(&self, request: CustomRequest<'_>) -> Result<Said, Denial> {
        let verdict = match self.kept.recall(&request) {
            Some(verdict) => verdict,
            None => self.question(&request).await?,
        };
        let auto = self.settings.mode == Mode::Auto;
        match verdict {
            Verdict::Proven(identity) => {
                identity.check(request.now)?;
                self.principal(&identity).await.map(|principal| Said::Proven(Principal::Custom(principal)))
            }
            Verdict::Key(key) => Ok(Said::Key(key)),
            Verdict::NotMine | Verdict::Refused { stands: false, .. } if auto => Ok(Said::AskOthers),
            Verdict::NotMine => Err(Denial::UnrecognizedCredential("custom authentication does not know it")),
            Verdict::Refused { refusal, .. } => Err(Denial::CustomRefused(Box::new(refusal))),
        }
    }

    /// Guessing is throttled where nobody else is asked: with [`Mode::Auto`] a refusal may be about somebody else's key.
    async fn question(&self, request: &CustomRequest<'_>) -> Result<Verdict, Denial> {
        let (source, hash) = (request.head.source, KeyHash::of(request.credential.unwrap_or_default()));
        let throttled = self.settings.mode == Mode::On && self.good.get(&hash).is_none();
        if throttled {
            self.failures.check(source, request.now)?;
        }
        let answer = self.authenticator.authenticate(*request).await;
        let answer = answer.map_err(|CustomUnavailable(word)| Denial::CustomUnavailable(word))?;
        self.kept.keep(request, &answer);
        match answer.verdict {
            Verdict::Proven(_) | Verdict::Key(_) => self.good.insert(hash, ()),
            Verdict::NotMine | Verdict::Refused { .. } if throttled => self.failures.record(source, request.now),
            Verdict::NotMine | Verdict::Refused { .. } => {}
        }
        Ok(answer.verdict)
    }

    /// Whom the identity names, with the rules of the user and the team that are kept here, where they count.
    async fn principal(&self, identity: &CustomIdentity) -> Result<Arc<CustomPrincipal>, Denial> {
        let named = &identity.principal;
        if !self.settings.common_checks || (named.user_id.is_none() && named.team_id.is_none()) {
            return Ok(Arc::clone(named));
        }
        let unavailable = |StoreUnavailable(cause)| Denial::StoreUnavailable(cause);
        let mut principal = CustomPrincipal::clone(named);
        if let Some(id) = &named.user_id
            && let Some(user) = self.directory.user(id).await.map_err(unavailable)?
        {
            principal.policies.push(user.policy.clone());
            principal.limits_of_user.clone_from(&user.limits);
        }
        if let Some(id) = &named.team_id
            && let Some(team) = self.directory.team(TeamName::Id(id)).await.map_err(unavailable)?
        {
            if team.blocked {
                return Err(Denial::BlockedKey);
            }
            let team = Membership::of(team, named.user_id.as_deref(), &*self.directory).await.map_err(unavailable)?;
            principal.policies.push(team.policy.clone());
            principal.team = Some(team);
        }
        Ok(Arc::new(principal))
    }
}

/// A directory without anybody in it.
struct Nobody;

impl Directory for Nobody {
    fn user<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Arc<UserRecord>>, StoreUnavailable>> {
        ready(Ok(None)).boxed()
    }

    fn team<'a>(&'a self, _: TeamName<'a>) -> BoxFuture<'a, Result<Option<Arc<TeamRecord>>, StoreUnavailable>> {
        ready(Ok(None)).boxed()
    }

    fn enrol(&self, _: Enrolment) {}
}

impl Step {
    fn of_custom(said: &Result<Said, Denial>) -> Self {
        match said {
            Ok(Said::Proven(_) | Said::Key(_)) => Self::Proven,
            Ok(Said::AskOthers) => Self::NotMine,
            Err(denial) => Self::Failed(denial.clone()),
        }
    }
}

#[cfg(test)]
mod tests;
