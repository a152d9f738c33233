//! `Principal`: who is calling, once an authenticator has proven it.

use std::sync::Arc;

use crate::authn::virtual_key::KeyRecord;

/// Who is calling and how that was proven. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Principal {
    /// The operator, by the master key: may do everything.
    Master,
    /// The holder of a virtual key.
    Key(Arc<KeyRecord>),
}

impl Principal {
    /// The name under which logs and audit rows speak of this principal. Never a credential: a key is named by its
    /// public id, the master key by the fixed word that LiteLLM uses.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Master => "litellm_proxy_master_key".to_owned(),
            Self::Key(key) => key.id.to_string(),
        }
    }

    /// How the principal was authenticated; the log's `auth.method`.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self::Master => "master_key",
            Self::Key(_) => "virtual_key",
        }
    }

    /// The virtual key behind this principal, if there is one.
    #[must_use]
    pub fn key(&self) -> Option<&KeyRecord> {
        match self {
            Self::Master => None,
            Self::Key(key) => Some(key),
        }
    }

    /// Whether management routes are open to this principal. Roles other than the operator's come with users and teams.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        matches!(self, Self::Master)
    }
}
