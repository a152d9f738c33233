//! `general_settings.allowed_routes` and `allowed_ips`: the only paths that are served, each compared as a whole as in
//! LiteLLM, and the only addresses to which anything is.

use portcullis_filters::path::{CanonicalPath, OpenPaths};
use portcullis_filters::source::OpenSources;

use super::reader::Section;

pub(super) fn read(general: &Section<'_>) -> OpenPaths {
    let Some(field) = general.field("allowed_routes") else { return OpenPaths::default() };
    let items = field.items();
    if items.is_empty() {
        field.mistake("is empty, so nothing would be served; remove it to serve every route");
    }
    OpenPaths::only(items.iter().filter_map(|item| item.parsed(whole_path)))
}

pub(super) fn read_sources(general: &Section<'_>) -> OpenSources {
    let Some(field) = general.field("allowed_ips").filter(|field| !field.is_switched_off()) else {
        return OpenSources::default();
    };
    let items = field.items();
    if items.is_empty() {
        return OpenSources::default(); // as in LiteLLM
    }
    OpenSources::only(items.iter().filter_map(super::http::range))
}

fn whole_path(text: &str) -> Result<CanonicalPath, &'static str> {
    let path = CanonicalPath::parse(text).ok().filter(|path| !path.as_str().contains('*'));
    path.ok_or("expected one whole path such as /v1/chat/completions")
}
