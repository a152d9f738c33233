//! `Usage`: what an answer says that it took, read while its bytes pass.
//!
//! Providers count in three vocabularies (OpenAI's, Anthropic's, Gemini's) and answer in two forms, one JSON document or
//! a stream of events. The members' names tell the vocabularies apart, so that a call behind a vendor's prefix is metered
//! like any other. Nothing of an answer is kept but the few bytes of its usage, wherever it was cut into pieces.

use serde::Deserialize;

mod events;
mod scan;
#[cfg(test)]
mod tests;

pub use events::HiddenUsage;
use events::{Events, Line};
use scan::Scan;

/// Tokens of one call, as its provider counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens read, those from a cache and those written to one included.
    pub input: u64,
    /// Of `input`: read from the provider's cache.
    pub cached: u64,
    /// Of `input`: written to the provider's cache.
    pub cache_written: u64,
    /// Tokens made, those of reasoning included.
    pub output: u64,
    /// Of `output`: of reasoning.
    pub reasoning: u64,
}

impl Usage {
    /// Read and made together: what `tpm_limit` counts.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            cached: self.cached.saturating_add(other.cached),
            cache_written: self.cache_written.saturating_add(other.cache_written),
            output: self.output.saturating_add(other.output),
            reasoning: self.reasoning.saturating_add(other.reasoning),
        }
    }

    /// Later words of one answer repeat or raise what earlier ones said, never lower it.
    fn raise(&mut self, said: Self) {
        self.input = self.input.max(said.input);
        self.cached = self.cached.max(said.cached);
        self.cache_written = self.cache_written.max(said.cache_written);
        self.output = self.output.max(said.output);
        self.reasoning = self.reasoning.max(said.reasoning);
    }
}

/// Bytes of text that are taken for one token where nobody counts: OpenAI's rule of thumb.
pub const BYTES_PER_TOKEN: u64 = 4;

/// How many tokens the texts of a request are taken for, before anybody counts them. Images and files that it carries are
/// none.
#[must_use]
pub fn estimate_input(body: &[u8]) -> u64 {
    let mut scan = Scan::default();
    scan.feed(body);
    scan.text().div_ceil(BYTES_PER_TOKEN)
}

/// Reads the usage out of one answer.
#[derive(Default)]
pub struct UsageMeter {
    form: Form,
    scan: Scan,
    said: Option<Usage>,
    /// Whether the answer said that nothing more comes.
    ended: bool,
}

/// How an answer is written.
#[derive(Default)]
enum Form {
    /// In a way that names no usage: sound, an image.
    #[default]
    Other,
    /// One JSON document, or a list of them that grows (Gemini without `alt=sse`).
    Json,
    /// Server-sent events.
    Events(Events),
}

impl UsageMeter {
    /// For an answer of this `Content-Type`.
    #[must_use]
    pub fn new(content_type: Option<&str>) -> Self {
        let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let suffix = essence.len().checked_sub("+json".len()).and_then(|at| essence.get(at..)).unwrap_or_default();
        let form = match () {
            () if essence.eq_ignore_ascii_case("text/event-stream") => Form::Events(Events::default()),
            () if essence.eq_ignore_ascii_case("application/json") => Form::Json,
            () if suffix.eq_ignore_ascii_case("+json") => Form::Json,
            () => Form::Other,
        };
        Self { form, ..Self::default() }
    }

    /// The next bytes, cut wherever they are.
    pub fn observe(&mut self, bytes: &[u8]) {
        let Self { form, scan, said, ended } = self;
        match form {
            Form::Other => {}
            Form::Json => scan.feed(bytes),
            Form::Events(events) => events.feed(bytes, |line| match line {
                Line::Data(part) => scan.feed(part),
                Line::DataEnd => scan.feed(b"\n"),
                Line::EventEnd { last } => {
                    raise(said, scan);
                    scan.next_document();
                    *ended |= last;
                }
                Line::Done => *ended = true,
            }),
        }
        raise(&mut self.said, &mut self.scan);
    }

    /// What was said so far; `None`: nothing yet.
    #[must_use]
    pub fn said(&self) -> Option<Usage> {
        self.said
    }

    /// Whether the answer said of itself that it is complete. Only streams do.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// How many tokens the texts that have passed are taken for, where the provider does not say.
    #[must_use]
    pub fn estimated_output(&self) -> u64 {
        self.scan.text().div_ceil(BYTES_PER_TOKEN)
    }
}

/// Takes over what the scan has found since it was asked last.
fn raise(said: &mut Option<Usage>, scan: &mut Scan) {
    let Some(object) = scan.take_found() else { return };
    if let Ok(found) = serde_json::from_slice::<Said>(&object) {
        said.get_or_insert_default().raise(found.usage());
    }
}

/// A usage object of any vocabulary. What cannot be read as a count counts as not said.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    // OpenAI: chat, completions, embeddings.
    prompt_tokens: Count,
    completion_tokens: Count,
    prompt_tokens_details: Details,
    completion_tokens_details: Details,
    // OpenAI: responses, images, transcriptions. Anthropic too, but there what the cache took is beside `input_tokens`.
    input_tokens: Count,
    output_tokens: Count,
    input_tokens_details: Details,
    output_tokens_details: Details,
    // Anthropic.
    cache_read_input_tokens: Count,
    cache_creation_input_tokens: Count,
    // Gemini.
    #[serde(rename = "promptTokenCount")]
    prompt_token_count: Count,
    #[serde(rename = "toolUsePromptTokenCount")]
    tool_use_prompt_token_count: Count,
    #[serde(rename = "cachedContentTokenCount")]
    cached_content_token_count: Count,
    #[serde(rename = "candidatesTokenCount")]
    candidates_token_count: Count,
    #[serde(rename = "thoughtsTokenCount")]
    thoughts_token_count: Count,
}

/// Parts of a count.
#[derive(Default, Deserialize)]
#[serde(default, from = "Option<Parts>")]
struct Details(Parts);

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parts {
    cached_tokens: Count,
    reasoning_tokens: Count,
}

impl From<Option<Parts>> for Details {
    fn from(parts: Option<Parts>) -> Self {
        Self(parts.unwrap_or_default())
    }
}

/// A number of tokens; anything else that stands in its place is none.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(from = "serde_json::Value")]
struct Count(u64);

impl From<serde_json::Value> for Count {
    fn from(value: serde_json::Value) -> Self {
        // Some write whole numbers as floats.
        let whole = || value.as_f64().filter(|number| *number >= 0.0).map(|number| number as u64);
        Self(value.as_u64().or_else(whole).unwrap_or_default().min(MOST))
    }
}

/// No call takes more tokens than this, whatever a provider says: two thousand million of them fit into one sum.
const MOST: u64 = 1 << 32;

impl Said {
    fn usage(&self) -> Usage {
        let beside_input = self.cache_read_input_tokens.0 + self.cache_creation_input_tokens.0;
        let cached = self.prompt_tokens_details.0.cached_tokens.0 + self.input_tokens_details.0.cached_tokens.0;
        let of_output = &self.completion_tokens_details.0.reasoning_tokens.0;
        Usage {
            input: self.prompt_tokens.0
                + self.input_tokens.0
                + beside_input
                + self.prompt_token_count.0
                + self.tool_use_prompt_token_count.0,
            cached: cached + self.cache_read_input_tokens.0 + self.cached_content_token_count.0,
            cache_written: self.cache_creation_input_tokens.0,
            output: self.completion_tokens.0
                + self.output_tokens.0
                + self.candidates_token_count.0
                + self.thoughts_token_count.0,
            reasoning: of_output + self.output_tokens_details.0.reasoning_tokens.0 + self.thoughts_token_count.0,
        }
    }
}
