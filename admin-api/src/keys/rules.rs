//! What the configuration says about keys: how their strings are made, defaults for new keys, and upper bounds.

use std::time::SystemTime;

use portcullis_filters::secret::Secret;
use serde_json::{Map, Value};

use crate::duration::Span;
use crate::keys::fields::{KEY_FIELDS, check};
use crate::keys::values;
use crate::problem::Problem;

/// The operator's rules for keys. Replaced as a whole when the configuration is loaded again.
#[derive(Clone, Debug)]
pub struct KeyRules {
    /// Random bytes in a generated key (`LENGTH_OF_LITELLM_GENERATED_KEY`). Fewer than
    /// [`KeyRules::FEWEST_BYTES`] count as that many.
    pub generated_bytes: usize,
    /// Fewest characters of a key string that a caller chooses (`MINIMUM_CUSTOM_KEY_LENGTH`), `sk-` included.
    pub minimum_custom_length: usize,
    /// Whether callers may choose key strings at all (not `disable_custom_api_keys`).
    pub custom_keys: bool,
    /// Whether the last four characters of a key are kept to recognise it by (not `DISABLE_KEY_NAME`).
    pub key_names: bool,
    /// How long a rotated key goes on working where the request does not say
    /// (`LITELLM_KEY_ROTATION_GRACE_PERIOD`); `None` ends it at once.
    pub grace_period: Option<Span>,
    /// Values for fields that a generate request leaves out (`default_key_generate_params`). Check them with
    /// [`KeyRules::mistakes`] when the configuration is loaded.
    pub defaults: Map<String, Value>,
    /// Bounds for some fields (`upperbound_key_generate_params`).
    pub upper_bounds: UpperBounds,
    /// A secret of this deployment that is not in its store (the salt key or the master key): rotations that can be
    /// repeated derive the new key string with it. If it changes, a repeat of an earlier rotation is answered 409.
    pub derivation: Secret,
}

/// `upperbound_key_generate_params`: a field that is left out gets the bound, a larger value is refused.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpperBounds {
    /// US dollars.
    pub max_budget: Option<f64>,
    /// Length of the budget's window.
    pub budget_duration: Option<Span>,
    /// Life of a key from its making.
    pub duration: Option<Span>,
    /// Requests at the same time.
    pub max_parallel_requests: Option<u64>,
    /// Tokens a minute.
    pub tpm_limit: Option<u64>,
    /// Requests a minute.
    pub rpm_limit: Option<u64>,
}

impl KeyRules {
    /// 128 bits: what nobody guesses.
    pub const FEWEST_BYTES: usize = 16;

    /// LiteLLM's rules where nothing is configured.
    #[must_use]
    pub fn new(derivation: Secret) -> Self {
        Self {
            generated_bytes: Self::FEWEST_BYTES,
            minimum_custom_length: 16,
            custom_keys: true,
            key_names: true,
            grace_period: None,
            defaults: Map::new(),
            upper_bounds: UpperBounds::default(),
            derivation,
        }
    }

    /// What is wrong with a set of [`KeyRules::defaults`], one line a mistake; empty if nothing is.
    #[must_use]
    pub fn mistakes(defaults: &Map<String, Value>, now: SystemTime) -> Vec<String> {
        match check(defaults.clone(), &[KEY_FIELDS]) {
            Err(problems) => problems.iter().map(|p| format!("{}: {}", p.loc[1..].join("."), p.msg)).collect(),
            Ok(given) => values::judge(&given.fields, now).err().map(|problem| problem.reason()).into_iter().collect(),
        }
    }

    /// Fills what a request for a new key leaves out.
    pub(crate) fn complete(&self, given: &mut Map<String, Value>) {
        for (name, value) in &self.defaults {
            if given.get(name).is_none_or(Value::is_null) {
                given.insert(name.clone(), value.clone());
            }
        }
    }
}

impl UpperBounds {
    /// Refuses larger values. Where a bounded field is cleared, or (`whole`) left out of the description of a new key,
    /// the bound itself takes its place.
    pub(crate) fn hold(&self, given: &mut Map<String, Value>, whole: bool, now: SystemTime) -> Result<(), Problem> {
        let amounts = [
            ("max_budget", self.max_budget.map(Value::from), self.max_budget),
            count("max_parallel_requests", self.max_parallel_requests),
            count("tpm_limit", self.tpm_limit),
            count("rpm_limit", self.rpm_limit),
        ];
        for (name, stand_in, bound) in amounts {
            let (Some(stand_in), Some(bound)) = (stand_in, bound) else { continue };
            match given.get(name) {
                Some(value) if value.as_f64().is_some_and(|value| value > bound) => return Err(over(name)),
                Some(Value::Null) => drop(given.insert(name.to_owned(), stand_in)),
                None if whole => drop(given.insert(name.to_owned(), stand_in)),
                _ => {}
            }
        }
        for (name, bound) in [("duration", self.duration), ("budget_duration", self.budget_duration)] {
            let Some(bound) = bound else { continue };
            match given.get(name).map(|value| value.as_str().filter(|text| *text != "-1")) {
                Some(Some(text)) if longer(text, bound, now) => return Err(over(name)),
                Some(None) => drop(given.insert(name.to_owned(), bound.to_string().into())),
                None if whole => drop(given.insert(name.to_owned(), bound.to_string().into())),
                _ => {}
            }
        }
        Ok(())
    }
}

fn count(name: &'static str, bound: Option<u64>) -> (&'static str, Option<Value>, Option<f64>) {
    (name, bound.map(Value::from), bound.map(|bound| bound as f64))
}

/// Months and days compare only by where they end. What cannot be read counts as longer than anything.
fn longer(text: &str, bound: Span, now: SystemTime) -> bool {
    let end = |span: Span| span.after(now);
    let asked = text.parse().ok().and_then(end);
    asked.is_none() || end(bound).is_some_and(|latest| asked > Some(latest))
}

fn over(name: &'static str) -> Problem {
    Problem::invalid(name, format!("{name} is over the upper bound that this proxy sets for keys"))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use serde_json::json;

    use super::*;

    fn held(bounds: &UpperBounds, given: Value, whole: bool) -> Result<Value, String> {
        let Value::Object(mut given) = given else { panic!("not an object") };
        let outcome = bounds.hold(&mut given, whole, UNIX_EPOCH);
        outcome.map(|()| given.into()).map_err(|problem| problem.reason())
    }

    #[test]
    fn a_new_key_gets_the_bounds_it_leaves_out_and_no_more_than_them() {
        let bounds = UpperBounds {
            max_budget: Some(10.0),
            duration: Some(Span::Seconds(86_400 * 30)),
            rpm_limit: Some(5),
            ..UpperBounds::default()
        };
        let filled = json!({"max_budget": 10.0, "duration": "2592000s", "rpm_limit": 5});
        assert_eq!(held(&bounds, json!({}), true), Ok(filled));
        let smaller = json!({"max_budget": 1, "duration": "2w", "rpm_limit": 5});
        assert_eq!(held(&bounds, smaller.clone(), true), Ok(smaller));
        for larger in [json!({"max_budget": 10.01}), json!({"duration": "1mo"}), json!({"rpm_limit": 6})] {
            assert!(held(&bounds, larger.clone(), true).is_err(), "{larger}");
        }
    }

    #[test]
    fn clearing_a_bounded_field_leaves_the_bound() {
        let bounds = UpperBounds { duration: Some(Span::Months(1)), tpm_limit: Some(7), ..UpperBounds::default() };
        let cleared = json!({"duration": "-1", "tpm_limit": null});
        assert_eq!(held(&bounds, cleared, false), Ok(json!({"duration": "1mo", "tpm_limit": 7})));
        assert_eq!(held(&bounds, json!({}), false), Ok(json!({})), "an update leaves alone what it does not name");
    }

    #[test]
    fn reports_mistakes_in_the_configured_defaults() {
        let mistakes = |defaults: Value| KeyRules::mistakes(defaults.as_object().unwrap(), UNIX_EPOCH);
        assert_eq!(mistakes(json!({"models": ["a"], "duration": "30d"})), Vec::<String>::new());
        assert_eq!(mistakes(json!({"model": ["a"]})), ["model: Extra inputs are not permitted"]);
        assert_eq!(mistakes(json!({"duration": "soon"})).len(), 1);
    }
}
