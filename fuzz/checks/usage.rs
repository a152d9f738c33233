//! What an answer says that it took does not depend on where it was cut, nor does what is left when it is hidden; and a
//! parser that reads whole documents finds no more than the meter did.

use bytes::Bytes;
use portcullis_filters::usage::{HiddenUsage, Usage, UsageMeter, estimate_input};

/// The first byte says where the rest, an answer, is cut, and in which form it comes.
pub(crate) fn check(data: &[u8]) {
    let Some((choice, answer)) = data.split_first() else { return };
    let content_type = if choice % 2 == 0 { "text/event-stream" } else { "application/json" };
    let at = usize::from(*choice) * answer.len() / 256;
    let (before, after) = answer.split_at(at);
    let whole = meter(content_type, &[answer]);
    assert_eq!(whole, meter(content_type, &[before, after]), "cut at {at}");
    assert_eq!(whole, meter(content_type, &answer.chunks(1).collect::<Vec<_>>()), "byte by byte");
    assert!(estimate_input(answer) <= answer.len() as u64);
    let hidden = hide(&[answer]);
    assert_eq!(hidden, hide(&[before, after]), "cut at {at}");
    assert!(hidden.len() <= answer.len());
    if content_type == "application/json"
        && let Ok(serde_json::Value::Object(document)) = serde_json::from_slice(answer)
        && let Some(tokens) = document.get("usage").and_then(|usage| usage["prompt_tokens"].as_u64())
        && tokens < 1 << 32
    {
        assert!(whole.0.is_some_and(|usage| usage.input >= tokens) || answer.len() > 1024, "a usage was missed");
    }
}

fn meter(content_type: &str, parts: &[&[u8]]) -> (Option<Usage>, bool, u64) {
    let mut meter = UsageMeter::new(Some(content_type));
    parts.iter().for_each(|part| meter.observe(part));
    (meter.said(), meter.has_ended(), meter.estimated_output())
}

fn hide(parts: &[&[u8]]) -> Vec<u8> {
    let mut hidden = HiddenUsage::default();
    let last = parts.len() - 1;
    let pass = |(n, part): (usize, &&[u8])| hidden.pass(&Bytes::copy_from_slice(part), n == last);
    parts.iter().enumerate().map(pass).collect::<Vec<_>>().concat()
}
