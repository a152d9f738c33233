//! The decision told step by step, for `/auth/explain`: the steps of [`Gateway::admit`](crate::proxy::Gateway), on a request
//! that somebody describes.
//!
//! Each step is the function that `admit` calls; what is told is what that function said. What must stay true: nothing is
//! used up (the gate is one of its own, limits are looked at only) and nothing of a credential is repeated.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portcullis_admin_api::explain::{
    DescribedRequest, Explain, ExplainedPrincipal, ExplainedStep, Explanation, FieldValue, Question,
};
use portcullis_filters::answer::answer;
use portcullis_filters::authn::Step;
use portcullis_filters::authn::virtual_key::KeyHash;
use portcullis_filters::credential::SlotSeen;
use portcullis_filters::denial::Denial;
use portcullis_filters::endpoint::{self, BodyKind, Call, dialect_of};
use portcullis_filters::head::RequestHead;
use portcullis_filters::limits::Limits;
use portcullis_filters::operation::Operation;
use portcullis_filters::path::CanonicalPath;
use portcullis_filters::policy::{self, Permit};
use portcullis_filters::principal::Principal;
use serde_json::Value;

use crate::proxy::upstream::Resolver;
use crate::proxy::{Live, usage};

/// Explains by the configuration in force.
pub struct Explainer {
    /// The configuration in force.
    pub live: Arc<ArcSwap<Live>>,
    /// What is counted of principals with limits.
    pub limits: Limits,
    /// Finds the hosts that clients choose.
    pub resolver: Arc<Resolver>,
}

#[async_trait]
impl Explain for Explainer {
    async fn explain(&self, question: Question, now: SystemTime) -> Explanation {
        let live = self.live.load_full();
        let mut told = Told::default();
        if question.holder.is_some() && live.explaining.authenticators.asks_custom_first() {
            told.tell("authenticator", "custom", "is asked first, and has to see the key itself");
            let decided_by = Some("authenticator: custom".to_owned());
            return Explanation { outcome: "undecided", decided_by, ..told.explanation };
        }
        let outcome = match Described::read(question.request) {
            Ok(request) => told.decide(&live, self, &request, question.holder, now).await,
            Err(denial) => Err(told.refused("path", "the description", denial)),
        };
        told.conclude(outcome.err())
    }
}

/// The request in the form in which the proxy has one.
struct Described {
    method: Method,
    path: CanonicalPath,
    query: Option<String>,
    headers: HeaderMap,
    body: Bytes,
    source: Option<std::net::IpAddr>,
}

impl Described {
    fn read(request: DescribedRequest) -> Result<Self, Denial> {
        const UNSENDABLE: Denial = Denial::MalformedRequest("a method or header field that no request can have");
        let body: Bytes = match request.body {
            None | Some(Value::Null) => Bytes::new(),
            Some(Value::String(text)) => text.into(),
            Some(json) => json.to_string().into(),
        };
        let usual = if body.is_empty() { "GET" } else { "POST" };
        let mut headers = HeaderMap::new();
        for (name, value) in request.headers {
            let name: HeaderName = name.parse().map_err(|_| UNSENDABLE)?;
            let values = match value {
                FieldValue::One(value) => vec![value],
                FieldValue::Several(values) => values,
            };
            for value in values {
                headers.append(&name, HeaderValue::try_from(value).map_err(|_| UNSENDABLE)?);
            }
        }
        let (path, query) =
            request.path.split_once('?').map_or((&*request.path, None), |(path, query)| (path, Some(query)));
        Ok(Self {
            method: request.method.as_deref().unwrap_or(usual).parse().map_err(|_| UNSENDABLE)?,
            path: CanonicalPath::parse(path)?,
            query: query.map(str::to_owned),
            headers,
            body,
            source: request.source,
        })
    }

    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &self.headers,
            source: self.source,
            client_certificate: None,
        }
    }
}

/// Names of a list that are told.
const MOST_NAMES: usize = 8;

/// What has been told so far.
#[derive(Default)]
struct Told {
    explanation: Explanation,
    /// For the words of a refusal.
    dialect: Option<endpoint::Dialect>,
}

impl Told {
    /// The steps of `admit`, in its order.
    async fn decide(
        &mut self,
        live: &Live,
        explainer: &Explainer,
        request: &Described,
        holder: Option<KeyHash>,
        now: SystemTime,
    ) -> Result<(), Denial> {
        let head = request.head();
        self.dialect = Some(dialect_of(request.path.as_str(), head.headers));
        let endpoint =
            endpoint::classify(&head).map_err(|denial| self.refused("path", request.path.as_str(), denial))?;
        self.tell("path", &endpoint.route, "served");
        live.open_paths
            .check(&request.path)
            .map_err(|denial| self.refused("allowed_routes", "general_settings", denial))?;
        if head.source.is_some() {
            let open = live.open_sources.check(head.source);
            open.map_err(|denial| self.refused("allowed_ips", "general_settings", denial))?;
        }
        let principal = match holder {
            Some(hash) => self.holder(live, hash, now).await?,
            None => self.authenticate(live, &head, &request.body, now).await?,
        };
        self.explanation.principal = Some(ExplainedPrincipal {
            id: principal.id(),
            method: principal.method(),
            key_alias: principal.key().and_then(|key| key.alias.as_deref()).map(str::to_owned),
        });
        let operation = self.operation(endpoint, request)?;
        let permit = self.authorize(live, principal, operation)?;
        self.limits(&explainer.limits, live, &permit, now)?;
        self.route(live, &explainer.resolver, &permit, &head, now).await
    }

    async fn holder(&mut self, live: &Live, hash: KeyHash, now: SystemTime) -> Result<Principal, Denial> {
        let mut seen = Vec::new();
        let mut saw = |name: &'static str, step: Step| seen.push((name, step));
        let found = live.explaining.authenticators.explain_hash(hash, now, &mut saw).await;
        self.authenticators(seen, found)
    }

    async fn authenticate(
        &mut self,
        live: &Live,
        head: &RequestHead<'_>,
        body: &Bytes,
        now: SystemTime,
    ) -> Result<Principal, Denial> {
        let gate = &live.explaining;
        let extracted = gate.slots.extract(head);
        let counts = extracted.as_ref().map(|credential| credential.slot).ok();
        for SlotSeen { slot, shape, could_be_ours } in gate.slots.survey(head).unwrap_or_default() {
            let verdict = match (counts == Some(slot), could_be_ours) {
                (true, true) => "counts",
                (true, false) => "counts, as there is no other; nothing here could verify it",
                (false, true) => "passed over: an earlier one counts",
                (false, false) => "passed over: nothing here could verify it",
            };
            self.tell("slot", slot, &format!("{shape}, {verdict}"));
        }
        let refusal = extracted.as_ref().err().cloned();
        let seen_body = gate.authenticators.read_body().then_some(body);
        let mut seen = Vec::new();
        let mut saw = |name: &'static str, step: Step| seen.push((name, step));
        let found = gate.authenticators.explain(head, extracted, seen_body, now, &mut saw).await;
        match (refusal, seen.is_empty(), found) {
            (Some(_), true, Err(denial)) => Err(self.refused("slot", "none that can be used", denial)),
            (_, _, found) => self.authenticators(seen, found),
        }
    }

    /// Who was asked; the last of them decided, unless nobody knew.
    fn authenticators(
        &mut self,
        seen: Vec<(&'static str, Step)>,
        found: Result<Principal, Denial>,
    ) -> Result<Principal, Denial> {
        let last = seen.last().map(|(name, step)| (*name, step.clone()));
        for (name, step) in seen {
            match step {
                Step::NotMine => self.tell("authenticator", name, "does not know it"),
                Step::Proven => self.tell("authenticator", name, "proves it"),
                Step::Failed(_) => {} // told below, with its denial
            }
        }
        found.map_err(|denial| match last {
            Some((name, Step::Failed(_) | Step::Proven)) => self.refused("authenticator", name, denial),
            _ => self.refused("authenticator", "none of them knows it", denial),
        })
    }

    fn operation(&mut self, endpoint: endpoint::Endpoint, request: &Described) -> Result<Operation, Denial> {
        let refused = |told: &mut Self, denial| told.refused("body", "what is asked for", denial);
        if endpoint.body == BodyKind::Multipart {
            return Err(refused(
                self,
                Denial::UnreadableBody("forms cannot be explained; describe a call with JSON".into()),
            ));
        }
        let content_type = request.headers.get("content-type").and_then(|value| value.to_str().ok());
        let content_type = content_type.or(Some("application/json"));
        let taken = Operation::take(endpoint, request.query.as_deref(), content_type, request.body.clone());
        let (operation, _) = taken.map_err(|denial| refused(self, denial))?;
        self.tell(
            "body",
            operation.model.as_deref().unwrap_or("no model"),
            if operation.stream { "streamed" } else { "read" },
        );
        Ok(operation)
    }

    fn authorize(&mut self, live: &Live, principal: Principal, operation: Operation) -> Result<Permit, Denial> {
        let rules = policy::rules(&principal, &operation, &live.groups);
        let granted: Vec<String> = policy::granted_models(&principal).take(MOST_NAMES).cloned().collect();
        match policy::authorize(principal, operation, &live.groups) {
            Ok(permit) => {
                for (rule, said) in rules {
                    self.tell(
                        "policy",
                        &rule,
                        if said.is_ok() { "allows it" } else { "does not allow it; another one does" },
                    );
                }
                Ok(permit)
            }
            Err(denial) => {
                let mut deciding = "policy".to_owned();
                for (rule, said) in rules {
                    match said {
                        Ok(()) => self.tell("policy", &rule, "allows it"),
                        Err(_) => deciding = rule,
                    }
                }
                if matches!(
                    denial,
                    Denial::ModelForbidden(_) | Denial::TeamModelForbidden(_) | Denial::UserModelForbidden(_)
                ) && !granted.is_empty()
                {
                    self.tell("policy", &deciding, &format!("is for {}", granted.join(", ")));
                }
                Err(self.refused("policy", &deciding, denial))
            }
        }
    }

    fn limits(&mut self, limits: &Limits, live: &Live, permit: &Permit, now: SystemTime) -> Result<(), Denial> {
        for limit in limits.look(permit, now) {
            self.tell("limit", &limit.name.to_string(), &format!("{} of {}", limit.used, limit.most));
        }
        limits.check(permit, || usage::estimate(live, permit, &Bytes::new()), now).map_err(|denial| {
            let rule = match denial {
                Denial::RateLimited { limit, .. } | Denial::OverBudget(limit) => limit.to_string(),
                _ => "limits".to_owned(),
            };
            self.refused("limit", &rule, denial)
        })
    }

    async fn route(
        &mut self,
        live: &Live,
        resolver: &Resolver,
        permit: &Permit,
        head: &RequestHead<'_>,
        now: SystemTime,
    ) -> Result<(), Denial> {
        if matches!(permit.operation().endpoint.call, Call::ListModels | Call::RetrieveModel) {
            self.tell("deployment", "none", "answered here");
            return Ok(());
        }
        for (upstream, awake) in live.routes.candidates(permit.model().unwrap_or_default(), now) {
            self.tell("deployment", upstream.name(), if awake { "a candidate" } else { "rests after failures" });
        }
        let rule = permit.model().unwrap_or("no model").to_owned();
        let mut route =
            live.route(permit, head, &[], now).map_err(|denial| self.refused("deployment", &rule, denial))?;
        let pinned = route.pin(&live.client_side.outbound, |base| resolver.of_client(base)).await;
        pinned.map_err(|denial| self.refused("outbound", "the address that the caller chose", denial))
    }

    fn tell(&mut self, step: &'static str, rule: &str, result: &str) {
        self.explanation.steps.push(ExplainedStep { step, rule: rule.to_owned(), result: result.to_owned() });
    }

    /// The step that refuses, and the last one.
    fn refused(&mut self, step: &'static str, rule: &str, denial: Denial) -> Denial {
        self.tell(step, rule, &format!("refuses: {}", denial.reason()));
        self.explanation.decided_by = Some(format!("{step}: {rule}"));
        denial
    }

    fn conclude(self, refused: Option<Denial>) -> Explanation {
        let dialect = self.dialect.unwrap_or(endpoint::Dialect::OpenAi);
        let Some(denial) = refused else { return Explanation { outcome: "allowed", ..self.explanation } };
        Explanation {
            outcome: "refused",
            denial: Some(denial.reason()),
            status: Some(answer(&denial, dialect).status.as_u16()),
            cause: Some(denial.cause()),
            ..self.explanation
        }
    }
}
