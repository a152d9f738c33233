//! `litellm_settings.callbacks`: mostly logging, which is another product's business, but some refuse requests.
//!
//! A callback that checks must not fall silently out of a configuration; one that only logs may.

use super::reader::Section;

/// LiteLLM's own callbacks that can refuse a request.
const CHECKS: &str = "aporia_prompt_injection azure_content_safety banned_keywords batch_redis_requests blocked_user_check \
    detect_prompt_injection dynamic_rate_limiter dynamic_rate_limiter_v3 google_text_moderation guardrails_ai hide_secrets \
    lakera_prompt_injection llamaguard_moderations llmguard_moderations max_budget_limiter max_iterations_limiter \
    openai_moderations parallel_request_limiter presidio";

pub(super) fn read(litellm: &Section<'_>) {
    let Some(field) = litellm.field("callbacks") else { return };
    let mut only_logs = true;
    for callback in field.items() {
        let Some(name) = callback.text() else { continue };
        if CHECKS.split_ascii_whitespace().any(|check| check == name) {
            only_logs = false;
            callback.mistake(
                "this callback checks requests, and no callback is called: remove it to start without the check",
            );
        } else if name.contains('.') {
            only_logs = false;
            litellm
                .reader
                .notice(format!("{}: own code is not called; if it refuses requests, nobody does now", field.path));
        }
    }
    if only_logs {
        litellm.reader.ignore(&field.path);
    }
}
