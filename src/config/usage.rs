//! What calls cost, and where what they took is noted until the store has it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portcullis_filters::price::{PriceList, Pricing};

use super::Settings;
use super::field::Field;
use super::known::Known;
use super::models::ModelSettings;
use super::providers::{Provider, ProviderKind};
use super::reader::Section;

/// What calls cost, and where what they took is noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageSettings {
    /// The prices of models that have none of their own in `model_list`.
    pub prices: Arc<PriceList>,
    /// The directory of the journal.
    pub journal: PathBuf,
    /// For how long each call is kept by itself; `None`: only days are.
    pub keep_calls: Option<Duration>,
    /// Whether streams are asked for their usage where they do not say it by themselves.
    pub ask_streams: bool,
}

/// Longest price list, in bytes; LiteLLM's has two million.
const MOST_BYTES: u64 = 64 << 20;

/// Ten years.
const MOST_KEPT: u64 = 10 * 366 * 86_400;

const JOURNAL: &str = "portcullis-usage";

pub(super) fn read(own: &Section<'_>, directory: &Path) -> UsageSettings {
    let section = own.section("usage", &Known::NOTHING_ELSE);
    let journal = section.field("journal").and_then(|field| field.text());
    UsageSettings {
        prices: section.field("prices").and_then(|field| list(&field, directory)).unwrap_or_default().into(),
        journal: journal.map_or_else(|| PathBuf::from(JOURNAL), |path| directory.join(path)),
        keep_calls: section.field("keep_calls").and_then(|field| field.time(3_600..=MOST_KEPT)),
        ask_streams: section.flag("ask_streams", true),
    }
}

impl Settings {
    /// The models that nobody gave a price: what they cost is not known, and no budget ends by them.
    #[must_use]
    pub fn unpriced_models(&self) -> BTreeSet<&str> {
        let is_priced = |model: &&ModelSettings| {
            let Provider { name: provider, kind, .. } = *model.provider;
            let pricing = Pricing { own: model.price, list: Arc::clone(&self.usage.prices), provider };
            kind == ProviderKind::Mock || model.model.contains('*') || pricing.of(&model.model).is_some()
        };
        self.models.iter().filter(|model| !is_priced(model)).map(|model| model.name.as_str()).collect()
    }
}

fn list(field: &Field<'_>, directory: &Path) -> Option<PriceList> {
    let path = directory.join(field.some_text()?);
    let too_long = fs::metadata(&path).is_ok_and(|file| file.len() > MOST_BYTES);
    let read = match fs::read(&path) {
        _ if too_long => Err("is too long for a price list".to_owned()),
        Ok(json) => PriceList::read(&json).map_err(|error| format!("is no price list in LiteLLM's form: {error}")),
        Err(error) => Err(format!("cannot be read: {error}")),
    };
    read.map_err(|why| field.mistake(why)).ok()
}
