//! The operator's own code that decides who is calling: LiteLLM's `custom_auth`, and `portcullis.custom_auth` beside it.
//!
//! What must stay true: a file that asks for custom authentication gets it or does not start.

mod read;

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use portcullis_filters::authn::custom::{CustomSettings, Keep};
use portcullis_filters::secret::Secret;
use url::Url;

pub(super) use self::read::read;

/// Custom authentication as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomAuthSettings {
    /// How it stands beside the other methods.
    pub chain: CustomSettings,
    /// Who decides.
    pub by: CustomAuthBy,
}

/// Who decides.
#[derive(Clone, Debug, PartialEq)]
pub enum CustomAuthBy {
    /// A Python function in processes of ours.
    Python(PythonSettings),
    /// Somebody at an address.
    Hook(HookSettings),
}

/// The worker processes.
#[derive(Clone, Debug, PartialEq)]
pub struct PythonSettings {
    /// `module.function` or `package.module.function`; LiteLLM's `custom_auth`.
    pub handler: String,
    /// Where the module is looked for first: beside the configuration. The working directory of the workers.
    pub directory: PathBuf,
    /// The interpreter: a path, or a name to be found in `PATH`.
    pub python: PathBuf,
    /// How many processes.
    pub workers: usize,
    /// Requests under way in one process.
    pub concurrency: usize,
    /// Requests that may wait for a process.
    pub queue: usize,
    /// From the request's turn in the queue to its answer.
    pub timeout: Duration,
    /// Data memory of one process, in bytes.
    pub memory: u64,
    /// Variables that the processes get beside the harmless ones.
    pub environment: Vec<(String, Secret)>,
    /// Whether the function may read the body.
    pub body: bool,
    /// Whether what it proves is remembered, and what it depends on.
    pub keep: Option<Keep>,
}

/// A web hook.
#[derive(Clone, Debug, PartialEq)]
pub struct HookSettings {
    /// Where it is asked.
    pub address: HookAddress,
    /// In which form.
    pub form: HookForm,
    /// For an answer, the second try included.
    pub timeout: Duration,
    /// Header fields that go with each question, such as a credential of ours.
    pub headers: Vec<(HeaderName, Secret)>,
    /// Questions under way at once.
    pub max_questions: usize,
    /// Whether the body goes with the question.
    pub body: bool,
}

/// Where a hook is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookAddress {
    /// `https://...`
    Url(Url),
    /// `unix:/path`; the path of the request line is `/`.
    Unix(PathBuf),
}

/// In which form a hook is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookForm {
    /// Our own JSON, see `docs/custom-auth-hook.md`.
    Json,
    /// Envoy's HTTP `ext_authz`: the original method and path behind the hook's own.
    ExtAuthz,
    /// Traefik's and Caddy's forward auth: GET with `X-Forwarded-*`.
    ForwardAuth,
}
