//! The table of scenarios: what a run can measure, each under a name that stays.

pub mod trial;

use crate::issuer::Algorithm;
use crate::message::{Dialect, Shape};
use crate::target::{MODEL, TargetKind};

/// One thing that is measured.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name on the command line and in every output.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub about: &'static str,
    /// The smallest set that it belongs to.
    pub set: Set,
    /// How it is done.
    pub steady: Steady,
}

/// A choice of scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Set {
    /// What fits in ten minutes on two cores.
    Short,
    /// All.
    Full,
}

/// The same requests all the time, first as many as the connections carry, then at a constant rate.
#[derive(Clone, Copy, Debug)]
pub struct Steady {
    /// Who calls the gateway. Targets that authenticate nobody are called with the provider's own key.
    pub who: Who,
    /// Connections.
    pub connections: usize,
    /// Bytes in a request's body.
    pub body_bytes: usize,
    /// Requests a second in the open loop: what every target carries with ease, so that latencies compare.
    pub rate: f64,
    /// Whether the highest rate is sought at which p99 stays within [`P99_BOUND_MS`].
    pub bounded: bool,
}

/// The bound of [`crate::result::Measure::ThroughputWithinBound`], milliseconds.
pub const P99_BOUND_MS: f64 = 10.0;

/// Who calls the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The master key.
    Master,
    /// One virtual key that may use the model, known to the cache.
    Key,
    /// One virtual key with every limit that a key can have, none of which is reached.
    KeyWithLimits,
    /// One virtual key that may use another model only: each request is refused.
    KeyWithoutModel,
    /// So many keys in use, each as likely as any other, all known to the cache.
    Keys {
        /// How many.
        count: u64,
    },
    /// So many keys by turns, none known to the cache.
    ColdKeys {
        /// How many.
        count: u64,
    },
    /// One token of an issuer whose key set is fetched, known to the cache.
    Token(Algorithm),
    /// A credential that a Python function knows.
    Python {
        /// Whether what it says is remembered.
        kept: bool,
    },
    /// A credential that a web hook knows.
    Hook {
        /// Whether what it says is remembered.
        kept: bool,
    },
    /// So many tokens by turns, none known to the cache: each is verified.
    ColdTokens {
        /// What they are signed with.
        algorithm: Algorithm,
        /// How many.
        count: u64,
    },
}

const USUAL: Steady = Steady { who: Who::Key, connections: 32, body_bytes: 1024, rate: 2000.0, bounded: false };

/// As [`USUAL`], with a credential that the operator's own code knows.
const fn custom(name: &'static str, about: &'static str, who: Who) -> Scenario {
    Scenario { name, about, set: Set::Short, steady: Steady { who, rate: 200.0, ..USUAL } }
}

/// As [`USUAL`], with one token.
const fn token(name: &'static str, about: &'static str, set: Set, algorithm: Algorithm) -> Scenario {
    Scenario { name, about, set, steady: Steady { who: Who::Token(algorithm), ..USUAL } }
}

/// As [`USUAL`], with tokens that are verified one by one.
const fn cold_tokens(name: &'static str, about: &'static str, set: Set, algorithm: Algorithm) -> Scenario {
    Scenario { name, about, set, steady: Steady { who: Who::ColdTokens { algorithm, count: 1_000 }, ..USUAL } }
}

/// All scenarios, in the order in which a run goes through them.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "key_warm",
        about: "One virtual key that the cache knows, a chat request of 1 KB, 32 connections.",
        set: Set::Short,
        steady: Steady { bounded: true, ..USUAL },
    },
    Scenario {
        name: "master",
        about: "As key_warm, with the master key.",
        set: Set::Short,
        steady: Steady { who: Who::Master, ..USUAL },
    },
    Scenario {
        name: "key_cold",
        about: "As key_warm, with keys that the cache does not know: each request asks the embedded store.",
        set: Set::Short,
        steady: Steady { who: Who::ColdKeys { count: 20_000 }, ..USUAL },
    },
    Scenario {
        name: "key_limited",
        about: "As key_warm, with a key that has every limit: calls and tokens in a minute, its own and the model's, calls at once, a budget.",
        set: Set::Full,
        steady: Steady { who: Who::KeyWithLimits, ..USUAL },
    },
    Scenario {
        name: "denied_model",
        about: "As key_warm, with a key that may not use the model: each request is refused.",
        set: Set::Short,
        steady: Steady { who: Who::KeyWithoutModel, ..USUAL },
    },
    Scenario {
        name: "passthrough",
        about: "As key_warm, without Portcullis: what stands around it.",
        set: Set::Full,
        steady: USUAL,
    },
    Scenario { name: "body_1k", about: "As key_warm, with bodies of 1 KB.", set: Set::Full, steady: USUAL },
    Scenario {
        name: "body_100k",
        about: "As key_warm, with bodies of 100 KB.",
        set: Set::Short,
        steady: Steady { body_bytes: 100 << 10, rate: 500.0, ..USUAL },
    },
    Scenario {
        name: "body_5m",
        about: "As key_warm, with bodies of 5 MB over 8 connections.",
        set: Set::Full,
        steady: Steady { body_bytes: 5 << 20, rate: 10.0, connections: 8, ..USUAL },
    },
    Scenario {
        name: "connections_1",
        about: "As key_warm, over one connection.",
        set: Set::Short,
        steady: Steady { connections: 1, rate: 1000.0, ..USUAL },
    },
    Scenario { name: "connections_32", about: "As key_warm, over 32 connections.", set: Set::Full, steady: USUAL },
    Scenario {
        name: "connections_1000",
        about: "As key_warm, over 1,000 connections.",
        set: Set::Short,
        steady: Steady { connections: 1000, ..USUAL },
    },
    Scenario {
        name: "keys_1e3",
        about: "1,000 keys in use, each as likely as any other, all known to the cache.",
        set: Set::Full,
        steady: Steady { who: Who::Keys { count: 1_000 }, ..USUAL },
    },
    Scenario {
        name: "keys_1e5",
        about: "100,000 keys in use, each as likely as any other, all known to the cache.",
        set: Set::Full,
        steady: Steady { who: Who::Keys { count: 100_000 }, ..USUAL },
    },
    Scenario {
        name: "keys_1e6",
        about: "1,000,000 keys in use, each as likely as any other, all known to the cache.",
        set: Set::Full,
        steady: Steady { who: Who::Keys { count: 1_000_000 }, ..USUAL },
    },
    custom(
        "custom_python",
        "As key_warm, with a credential about which a Python function is asked each time, in one worker process.",
        Who::Python { kept: false },
    ),
    custom("custom_python_kept", "As custom_python, with an answer that is remembered.", Who::Python { kept: true }),
    custom(
        "custom_hook",
        "As key_warm, with a credential about which a web hook is asked each time.",
        Who::Hook { kept: false },
    ),
    custom("custom_hook_kept", "As custom_hook, with an answer that is remembered.", Who::Hook { kept: true }),
    token("jwt_rs256", "As key_warm, with one token signed with RS256.", Set::Full, Algorithm::RS256),
    token("jwt_ps256", "As key_warm, with one token signed with PS256.", Set::Full, Algorithm::PS256),
    token("jwt_es256", "As key_warm, with one token signed with ES256.", Set::Short, Algorithm::ES256),
    token("jwt_eddsa", "As key_warm, with one token signed with EdDSA.", Set::Full, Algorithm::EdDSA),
    token("jwt_hs256", "As key_warm, with one token signed with HS256.", Set::Full, Algorithm::HS256),
    cold_tokens("jwt_rs256_cold", "1,000 tokens signed with RS256, each verified anew.", Set::Full, Algorithm::RS256),
    cold_tokens("jwt_ps256_cold", "1,000 tokens signed with PS256, each verified anew.", Set::Full, Algorithm::PS256),
    cold_tokens("jwt_es256_cold", "1,000 tokens signed with ES256, each verified anew.", Set::Short, Algorithm::ES256),
    cold_tokens("jwt_eddsa_cold", "1,000 tokens signed with EdDSA, each verified anew.", Set::Full, Algorithm::EdDSA),
    cold_tokens("jwt_hs256_cold", "1,000 tokens signed with HS256, each verified anew.", Set::Full, Algorithm::HS256),
];

impl Scenario {
    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }

    /// Whether a target takes part: all do, but in `passthrough` the gateway, and where there is more to know than one key those
    /// that are configured with one.
    #[must_use]
    pub fn takes(&self, kind: &TargetKind) -> bool {
        match kind {
            TargetKind::Provider | TargetKind::Passthrough { .. } => true,
            TargetKind::Portcullis { .. } => self.name != "passthrough",
            TargetKind::Other { manifest, .. } => self.takes_others(&manifest.scenarios),
        }
    }

    /// Whether a gateway takes part that is for these scenarios only; for none: that is configured with one key.
    #[must_use]
    pub fn takes_others(&self, only: &[String]) -> bool {
        if only.is_empty() { self.steady.who == Who::Key } else { only.iter().any(|name| name == self.name) }
    }
}

impl Steady {
    /// The request.
    #[must_use]
    pub fn shape(&self) -> Shape {
        Shape::new(Dialect::OpenAiChat, false, self.body_bytes, MODEL)
    }
}
