//! `general_settings.allowed_routes`: the only paths that are served. As in LiteLLM each is compared as a whole.

use portcullis_filters::path::{CanonicalPath, OpenPaths};

use super::reader::Section;

pub(super) fn read(general: &Section<'_>) -> OpenPaths {
    let Some(field) = general.field("allowed_routes") else { return OpenPaths::default() };
    let items = field.items();
    if items.is_empty() {
        field.mistake("is empty, so nothing would be served; remove it to serve every route");
    }
    OpenPaths::only(items.iter().filter_map(|item| item.parsed(whole_path)))
}

fn whole_path(text: &str) -> Result<CanonicalPath, &'static str> {
    let path = CanonicalPath::parse(text).ok().filter(|path| !path.as_str().contains('*'));
    path.ok_or("expected one whole path such as /v1/chat/completions")
}
