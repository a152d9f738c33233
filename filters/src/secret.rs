//! Values that must never be printed: provider keys, master keys, passwords.
//!
//! A [`Secret`] has no `Display` and no `Serialize`; its `Debug` says only that it is there. Whoever needs the text
//! calls [`Secret::expose`], which is easy to find in a review.

use std::fmt;
use std::sync::Arc;

/// A secret text. Cloning shares the allocation.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// The text itself: only for putting it on the wire or into a digest.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
