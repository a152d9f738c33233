//! What a call takes: estimated before it, read while the answer passes, settled once.
//!
//! An answer is noted before its last bytes go to the client: whoever has the whole answer is in the journal, whatever
//! happens to this process. One that breaks off is noted when the request ends, by what had passed.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use pingora::http::ResponseHeader;
use pingora::prelude::Error;
use pingora_proxy::Session;
use portcullis_filters::endpoint::{BodyKind, Call, Endpoint};
use portcullis_filters::limits::Estimate;
use portcullis_filters::policy::Permit;
use portcullis_filters::price::{Cost, Price};
use portcullis_filters::principal::Principal;
use portcullis_filters::route::{Provider, Route};
use portcullis_filters::usage::{HiddenUsage, Usage, UsageMeter, estimate_input};

use super::context::{Admission, RequestContext};
use super::{Gateway, Live};
use crate::usage::{Caller, UsageRecord};

/// What one answer took, as far as it has passed.
pub struct Metering {
    meter: UsageMeter,
    /// Takes out of the stream what only we asked for.
    hidden: Option<HiddenUsage>,
    began: SystemTime,
}

/// What a call took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Tokens.
    pub usage: Usage,
    /// What they cost; `None`: nobody said what the model costs.
    pub cost: Option<Cost>,
    /// Whether the tokens are an estimate, because the answer did not say or broke off.
    pub is_estimate: bool,
}

/// Tokens that an answer is expected to have where the caller sets no bound, and at most: with a generous bound in each of
/// its requests a caller would lock itself out.
const USUAL_OUTPUT: u64 = 1_024;
const MOST_OUTPUT: u64 = 4_096;

/// What a permitted call is expected to take: the texts of its body, and as much of an answer as the caller wants.
pub(crate) fn estimate(live: &Live, permit: &Permit, body: &Bytes) -> Estimate {
    let operation = permit.operation();
    let output = match operation.endpoint.call {
        Call::OpenAi("/embeddings" | "/moderations" | "/rerank") => 0,
        _ => operation.most_output.unwrap_or(USUAL_OUTPUT).min(MOST_OUTPUT),
    };
    let usage = Usage { input: estimate_input(body), output, ..Usage::default() };
    let prices = live.routes.prices(permit);
    let cost = |price: &Option<Price>| price.map(|price| price.cost(&usage));
    Estimate {
        tokens: usage.total(),
        cost: prices.iter().filter_map(cost).max().unwrap_or_default(),
        is_free: !prices.is_empty() && prices.iter().all(|price| price.is_some_and(|price| price.is_free())),
    }
}

/// Whether the usage of this stream has to be asked for, and may be.
pub(super) fn must_ask(live: &Live, route: &Route) -> bool {
    let settings = route.upstream.settings();
    // Azure takes `stream_options` from this version on; Mistral refuses them, and says the usage without.
    let takes = match settings.provider {
        Provider::Azure => {
            let version = route.target.path_and_query.rsplit_once("api-version=").map(|(_, version)| version);
            version.is_none_or(|version| version >= "2024-09-01")
        }
        Provider::Mock => false,
        _ => settings.pricing.provider != "mistral",
    };
    live.asks_streams && takes
}

/// Begins to read the answer that is going to the client.
pub(super) fn begin(
    session: &Session,
    answer: &mut ResponseHeader,
    ctx: &mut RequestContext,
) -> Result<(), Box<Error>> {
    let Some(admission) = &ctx.admission else { return Ok(()) };
    if !answer.status.is_success() || !is_charged(&admission.permit.operation().endpoint) {
        return Ok(());
    }
    let text = |name| answer.headers.get(name).and_then(|value| value.to_str().ok());
    let is_plain = text(CONTENT_ENCODING).is_none_or(|coding| coding == "identity");
    let meter = UsageMeter::new(text(CONTENT_TYPE).filter(|_| is_plain));
    let hidden = (admission.hides_usage && is_plain).then(HiddenUsage::default);
    if hidden.is_some() && answer.remove_header(&CONTENT_LENGTH).is_some() && !session.is_http2() {
        answer.insert_header(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
    }
    ctx.metering = Some(Metering { meter, hidden, began: SystemTime::now() });
    Ok(())
}

/// Counting tokens is free, and so is reading again what was paid for.
fn is_charged(endpoint: &Endpoint) -> bool {
    let counts = match &endpoint.call {
        Call::Anthropic(call) => *call == "/messages/count_tokens",
        Call::Gemini { action, .. } => *action == "countTokens",
        Call::PassThrough(_, path) => path.ends_with("/count_tokens") || path.ends_with(":countTokens"),
        _ => false,
    };
    !counts && endpoint.body != BodyKind::None
}

/// Reads some of the answer. At its end the call is settled, before this part goes on.
pub(super) fn observe(gateway: &Gateway, chunk: &mut Option<Bytes>, is_end: bool, ctx: &mut RequestContext) {
    let Some(metering) = &mut ctx.metering else { return };
    let bytes = chunk.take().unwrap_or_default();
    metering.meter.observe(&bytes);
    let has_ended = is_end || metering.meter.has_ended();
    let passed = match &mut metering.hidden {
        Some(hidden) => hidden.pass(&bytes, is_end),
        None => bytes,
    };
    *chunk = (!passed.is_empty()).then_some(passed);
    if has_ended {
        settle(gateway, true, ctx);
    }
}

/// Puts what the call took in the place of what was held back for it, and notes it. Once; later calls do nothing.
pub(super) fn settle(gateway: &Gateway, is_whole: bool, ctx: &mut RequestContext) {
    let (Some(metering), Some(admission), None) = (&ctx.metering, &mut ctx.admission, ctx.taken) else { return };
    let now = SystemTime::now();
    let taken = taken(&metering.meter, admission, is_whole);
    for scope in admission.reservation.settle(taken.usage.total(), taken.cost.unwrap_or_default(), now) {
        tracing::warn!(principal = admission.permit.principal().id(), scope, "a soft budget is spent");
    }
    gateway.journal.note(&record(&taken, metering.began, now, admission, &ctx.id));
    ctx.taken = Some(taken);
}

fn taken(meter: &UsageMeter, admission: &Admission, is_whole: bool) -> Taken {
    let said = meter.said();
    let usage = match said {
        Some(said) if is_whole => said,
        // What was said before it broke off counts; of the rest only the text that had passed is known.
        said => {
            let said = said.unwrap_or_default();
            let input = if said.input > 0 { said.input } else { estimate_input(&admission.body.bytes()) };
            Usage { input, output: said.output.max(meter.estimated_output()), ..said }
        }
    };
    let price = admission.route.as_ref().and_then(|route| {
        let model = if route.model.is_empty() { admission.permit.model().unwrap_or_default() } else { &*route.model };
        route.upstream.settings().pricing.of(model)
    });
    Taken { usage, cost: price.map(|price| price.cost(&usage)), is_estimate: said.is_none() || !is_whole }
}

fn record(taken: &Taken, began: SystemTime, now: SystemTime, admission: &Admission, id: &str) -> UsageRecord {
    let permit = &admission.permit;
    let route = admission.route.as_ref();
    UsageRecord {
        id: id.to_owned(),
        began,
        ended: now,
        caller: caller(permit),
        call: permit.operation().endpoint.route.to_string(),
        model: permit.model().unwrap_or_default().to_owned(),
        upstream_model: route.map(|route| route.model.to_string()).unwrap_or_default(),
        provider: route.map(|route| route.upstream.settings().pricing.provider.to_owned()).unwrap_or_default(),
        usage: taken.usage,
        cost: taken.cost.unwrap_or_default(),
        is_estimate: taken.is_estimate,
    }
}

fn caller(permit: &Permit) -> Caller {
    let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
    let boxed = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
    let id = permit.principal().id();
    match permit.principal() {
        Principal::Master => Caller { id, ..Caller::default() },
        Principal::Key(key) => Caller {
            id,
            key: Some(key.id),
            user_id: boxed(&key.user_id),
            team_id: boxed(&key.team_id),
            organization_id: boxed(&key.organization_id),
            end_user_id: None,
        },
        Principal::Token(token) => Caller {
            id,
            key: None,
            user_id: text(&token.user_id),
            team_id: permit.team().map(|team| team.id.to_string()),
            organization_id: text(&token.organization_id),
            end_user_id: text(&token.end_user_id),
        },
        Principal::Custom(custom) => Caller {
            id,
            key: None,
            user_id: text(&custom.user_id),
            team_id: text(&custom.team_id),
            organization_id: text(&custom.organization_id),
            end_user_id: text(&custom.end_user_id),
        },
    }
}
