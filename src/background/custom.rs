//! Who answers for custom authentication: processes that run the operator's Python function, or a web hook.

use std::sync::atomic::{AtomicBool, Ordering};

use portcullis_filters::authn::custom::{CustomAnswer, Verdict};

pub mod hook;
pub mod python;

/// Says once that an identity carried a limit that is not enforced: dropped in silence it would look like one that is.
#[derive(Default)]
struct UnenforcedLimits(AtomicBool);

impl UnenforcedLimits {
    fn notice(&self, answer: &CustomAnswer) {
        let Verdict::Proven(identity) = &answer.verdict else { return };
        if !identity.unenforced.is_empty() && !self.0.swap(true, Ordering::Relaxed) {
            let fields = identity.unenforced.join(", ");
            tracing::warn!(target: "portcullis::custom_auth", fields, "an identity carries limits that are not enforced by this version");
        }
    }
}
