//! What a call costs: prices as LiteLLM writes them, and the sum in whole picodollars.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::usage::Usage;

/// An amount of money, in picodollars (10⁻¹² US dollars): exact sums, and at most some 18 million dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost(pub u64);

impl Cost {
    /// The nearest whole picodollar. What is negative or no number is nothing, what is too much is the most.
    #[must_use]
    pub fn from_dollars(dollars: f64) -> Self {
        // A cast from a float saturates, and takes what is no number for 0.
        Self((dollars * 1e12).round() as u64)
    }

    /// The amount in US dollars.
    #[must_use]
    pub fn dollars(self) -> f64 {
        self.0 as f64 / 1e12
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// The price of one token, in femtodollars (10⁻¹⁵ US dollars): LiteLLM's list goes down to 10⁻¹⁰ dollars for a token.
type PerToken = u64;

/// What a model's tokens cost. The fields of LiteLLM's price list that it was made from stand in [`Price::FIELDS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    usual: Rates,
    /// For calls that read more than 200,000 tokens, where that makes a difference.
    long: Option<Rates>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rates {
    input: PerToken,
    output: PerToken,
    cache_read: PerToken,
    cache_write: PerToken,
    reasoning: PerToken,
}

/// From how many tokens of input on the prices for long calls count (`..._above_200k_tokens`).
const LONG: u64 = 200_000;

impl Price {
    /// The fields of `model_info`, of `litellm_params` and of a price list that make a price, in US dollars for a token.
    pub const FIELDS: [&'static str; 9] = [
        "input_cost_per_token",
        "output_cost_per_token",
        "cache_read_input_token_cost",
        "cache_creation_input_token_cost",
        "output_cost_per_reasoning_token",
        "input_cost_per_token_above_200k_tokens",
        "output_cost_per_token_above_200k_tokens",
        "cache_read_input_token_cost_above_200k_tokens",
        "cache_creation_input_token_cost_above_200k_tokens",
    ];

    /// Makes a price of the dollars that [`Price::FIELDS`] have; `None` where neither input nor output has a price. What
    /// has no price of its own costs as input or output does.
    #[must_use]
    pub fn read(dollars: impl Fn(&'static str) -> Option<f64>) -> Option<Self> {
        let [input, output, cache_read, cache_write, reasoning, long @ ..] =
            Self::FIELDS.map(|field| dollars(field).map(per_token));
        if input.is_none() && output.is_none() {
            return None;
        }
        let (plain_input, plain_output) = (input.unwrap_or_default(), output.unwrap_or_default());
        let usual = Rates {
            input: plain_input,
            output: plain_output,
            cache_read: cache_read.unwrap_or(plain_input),
            cache_write: cache_write.unwrap_or(plain_input),
            reasoning: reasoning.unwrap_or(plain_output),
        };
        let [input, output, cache_read, cache_write] = long;
        let long = long.iter().any(Option::is_some).then(|| Rates {
            input: input.unwrap_or(usual.input),
            output: output.unwrap_or(usual.output),
            cache_read: cache_read.unwrap_or(usual.cache_read),
            cache_write: cache_write.unwrap_or(usual.cache_write),
            reasoning: output.unwrap_or(usual.reasoning),
        });
        Some(Self { usual, long })
    }

    /// What this many tokens cost, rounded to the nearest picodollar.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> Cost {
        let rates = self.long.as_ref().filter(|_| usage.input > LONG).unwrap_or(&self.usual);
        let plain = usage.input.saturating_sub(usage.cached).saturating_sub(usage.cache_written);
        let spoken = usage.output.saturating_sub(usage.reasoning);
        let parts = [
            (plain, rates.input),
            (usage.cached, rates.cache_read),
            (usage.cache_written, rates.cache_write),
            (spoken, rates.output),
            (usage.reasoning, rates.reasoning),
        ];
        let femto: u128 = parts.iter().map(|(tokens, price)| u128::from(*tokens) * u128::from(*price)).sum();
        Cost(u64::try_from((femto + 500) / 1_000).unwrap_or(u64::MAX))
    }

    /// Whether every token is free: LiteLLM asks no budget then.
    #[must_use]
    pub fn is_free(&self) -> bool {
        *self == Self::default()
    }
}

/// No token costs more than a thousand dollars.
fn per_token(dollars: f64) -> PerToken {
    (dollars.clamp(0.0, 1e3) * 1e15).round() as u64
}

/// Prices by model name: LiteLLM's `model_prices_and_context_window.json`, or one like it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PriceList(HashMap<String, Price>);

impl PriceList {
    /// Reads a list. Entries without a price for tokens are left out.
    ///
    /// # Errors
    /// It is no JSON object of objects, or a price is no number.
    pub fn read(json: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Entry(#[serde(deserialize_with = "numbers")] HashMap<String, f64>);
        let entries: HashMap<String, Entry> = serde_json::from_slice(json)?;
        let priced =
            |(name, Entry(fields)): (String, Entry)| Some((name, Price::read(|field| fields.get(field).copied())?));
        Ok(Self(entries.into_iter().filter_map(priced).collect()))
    }

    /// How many models have a price.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The prices of an entry among everything else that it says.
fn numbers<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<HashMap<String, f64>, D::Error> {
    let fields: HashMap<String, serde_json::Value> = Deserialize::deserialize(deserializer)?;
    let priced = fields.into_iter().filter(|(name, value)| Price::FIELDS.contains(&name.as_str()) && !value.is_null());
    let number = |(name, value): (String, serde_json::Value)| match value.as_f64().filter(|price| *price >= 0.0) {
        Some(price) => Ok((name, price)),
        None => Err(serde::de::Error::custom(format!("{name} must be a number of dollars, not {value}"))),
    };
    priced.map(number).collect()
}

/// What the models of one deployment cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pricing {
    /// As the deployment itself says; whatever the list says.
    pub own: Option<Price>,
    /// Where to look otherwise.
    pub list: Arc<PriceList>,
    /// The provider's name, which stands before the model in a list.
    pub provider: &'static str,
}

impl Pricing {
    /// The price of the model that the provider calls so; `None`: nobody said.
    #[must_use]
    pub fn of(&self, model: &str) -> Option<Price> {
        let listed = || {
            let PriceList(list) = &*self.list;
            if list.is_empty() {
                return None;
            }
            list.get(&format!("{}/{model}", self.provider)).or_else(|| list.get(model)).copied()
        };
        self.own.or_else(listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(fields: &[(&str, f64)]) -> Price {
        Price::read(|name| fields.iter().find(|(field, _)| *field == name).map(|(_, dollars)| *dollars)).unwrap()
    }

    #[test]
    fn a_call_costs_what_its_tokens_cost_to_the_picodollar() {
        let usage = Usage { input: 1_000, cached: 600, cache_written: 100, output: 50, reasoning: 20 };
        let all = [
            ("input_cost_per_token", 3e-6),
            ("output_cost_per_token", 1.5e-5),
            ("cache_read_input_token_cost", 3e-7),
            ("cache_creation_input_token_cost", 3.75e-6),
            ("output_cost_per_reasoning_token", 1e-5),
        ];
        // 300 × 3e-6 + 600 × 3e-7 + 100 × 3.75e-6 + 30 × 1.5e-5 + 20 × 1e-5 dollars
        assert_eq!(price(&all).cost(&usage), Cost(2_105_000_000));
        // What has no price of its own: 1,000 × 3e-6 + 50 × 1.5e-5
        assert_eq!(price(&all[..2]).cost(&usage), Cost(3_750_000_000));
        // An embedding has no output.
        assert_eq!(price(&[("input_cost_per_token", 2e-8)]).cost(&usage), Cost(20_000_000));
        assert_eq!(price(&[("input_cost_per_token", 2.5e-13)]).cost(&Usage { input: 2, ..Usage::default() }), Cost(1));
        assert_eq!(price(&all).cost(&Usage::default()), Cost(0));
    }

    #[test]
    fn long_calls_have_prices_of_their_own() {
        let price = price(&[
            ("input_cost_per_token", 1e-6),
            ("output_cost_per_token", 1e-6),
            ("input_cost_per_token_above_200k_tokens", 2e-6),
        ]);
        let cost = |input| price.cost(&Usage { input, output: 10, ..Usage::default() }).0;
        assert_eq!((cost(200_000), cost(200_001)), (200_010_000_000, 400_012_000_000));
    }

    #[test]
    fn what_a_provider_miscounts_costs_no_less_than_nothing_and_no_more_than_all() {
        let price = price(&[("input_cost_per_token", 1e3), ("output_cost_per_token", 1.0)]);
        let odd = Usage { input: 1, cached: 5, cache_written: 7, output: 1, reasoning: 9 };
        assert!(price.cost(&odd).0 > 0);
        assert_eq!(price.cost(&Usage { input: 1 << 40, output: 1 << 40, ..Usage::default() }), Cost(u64::MAX));
        assert_eq!(Cost::from_dollars(-1.0), Cost(0));
        assert_eq!(Cost::from_dollars(f64::NAN), Cost(0));
        assert_eq!(Cost::from_dollars(f64::INFINITY), Cost(u64::MAX));
        assert_eq!(Cost::from_dollars(0.1 + 0.2), Cost(300_000_000_000));
        assert_eq!(Cost(300_000_000_000).dollars(), 0.3);
    }

    #[test]
    fn a_list_in_litellms_form_is_looked_up_with_and_without_the_provider() {
        let list = PriceList::read(
            br#"{"sample_spec": {"input_cost_per_token": 0, "output_cost_per_token": 0, "mode": "one of: chat"},
                "gpt-4o": {"input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05, "mode": "chat", "max_tokens": 16384},
                "groq/llama": {"input_cost_per_token": 5e-08, "output_cost_per_token": null},
                "llama": {"input_cost_per_token": 1},
                "dall-e-3": {"output_cost_per_image": 0.04}}"#,
        )
        .unwrap();
        assert_eq!(list.len(), 4);
        let list = Arc::new(list);
        let of = |provider, model| Pricing { own: None, list: Arc::clone(&list), provider }.of(model);
        assert_eq!(of("openai", "gpt-4o").map(|price| price.usual.output), Some(10_000_000_000));
        assert_eq!(of("groq", "llama").map(|price| price.usual.input), Some(50_000_000));
        assert_eq!(of("openai", "dall-e-3"), None);
        assert_eq!(of("openai", "gpt-5"), None);
        let own = Some(price(&[("input_cost_per_token", 0.0)]));
        let pricing = Pricing { own, list: Arc::clone(&list), provider: "openai" };
        assert!(pricing.of("gpt-4o").is_some_and(|price| price.is_free()));
        for broken in [
            r#"[]"#,
            r#"{"a": 1}"#,
            r#"{"a": {"input_cost_per_token": "1e-6"}}"#,
            r#"{"a": {"input_cost_per_token": -1}}"#,
        ] {
            assert!(PriceList::read(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
