//! What a custom authenticator says of a caller, in the words of LiteLLM's `UserAPIKeyAuth`.
//!
//! What must stay true: a restriction that an identity carries is in force, whatever LiteLLM does with it by default
//! (contract 04, C2); one that cannot be read makes it no identity; and the credential itself is kept only as its hash.

use std::sync::Arc;
use std::time::SystemTime;

use super::super::virtual_key::KeyHash;
use crate::denial::Denial;
use crate::policy::Policy;
use crate::principal::{CustomPrincipal, Limit, Role};

mod form;

use form::Form;

/// An identity as the operator's code gave it, read and valid.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomIdentity {
    /// Who it is and what it allows.
    pub principal: Arc<CustomPrincipal>,
    /// Why it may not come in, whatever it asks for: blocked, or over a budget.
    pub refused: Option<Denial>,
    /// Limits that it carries and that are not enforced, by the names of their fields.
    pub unenforced: Vec<&'static str>,
}

/// It cannot be read as an identity; the word is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAnIdentity(pub &'static str);

impl CustomIdentity {
    /// Reads the fields of `UserAPIKeyAuth` from a JSON object. Those that restrict nothing and name nobody are skipped; one
    /// that restricts and cannot be read makes it no identity. `credential` is what was presented.
    ///
    /// # Errors
    /// [`NotAnIdentity`].
    pub fn read(json: &[u8], credential: Option<&str>) -> Result<Self, NotAnIdentity> {
        let form: Form =
            serde_json::from_slice(json).map_err(|_| NotAnIdentity("a field of the identity has another type"))?;
        let key = form.key_hash(credential);
        let user_id = name(form.user_id.as_deref())?;
        let key_alias = name(form.key_alias.as_deref())?;
        let id = user_id.clone().or_else(|| key_alias.clone()).unwrap_or_else(|| key.to_string().into());
        let role = form.role()?;
        let principal = CustomPrincipal {
            id,
            key_alias,
            user_email: name(form.user_email.as_deref())?,
            team_id: name(form.team_id.as_deref())?,
            team_alias: name(form.team_alias.as_deref())?,
            organization_id: name(form.org_id.as_deref().or(form.organization_id.as_deref()))?,
            end_user_id: name(form.end_user_id.as_deref())?,
            role,
            policies: form.policies(),
            management: management(role, &form.allowed_routes),
            expires: form.expires()?,
            limits: form.limits(key),
            is_limited: form.is_limited(key),
            user_id,
            limits_of_user: None,
            team: None,
        };
        Ok(Self { principal: Arc::new(principal), refused: form.refused()?, unenforced: form.unenforced() })
    }

    /// When it ends.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        self.principal.expires
    }

    /// Whether it may come in at all.
    ///
    /// # Errors
    /// [`Denial::BlockedKey`], [`Denial::OverBudget`], [`Denial::ExpiredKey`].
    pub fn check(&self, now: SystemTime) -> Result<(), Denial> {
        if let Some(denial) = &self.refused {
            return Err(denial.clone());
        }
        if self.expires().is_some_and(|end| end <= now) { Err(Denial::ExpiredKey) } else { Ok(()) }
    }
}

/// Whom the operator's code gives no role may call and list models, nothing else (contract 04, C1). What another role may do
/// is the management API's to say, within the routes that are given.
fn management(role: Role, routes: &Option<Vec<String>>) -> Policy {
    match role {
        Role::None => Policy::granting(None, Some(&[])),
        _ => Policy::new(&[], routes.as_deref().unwrap_or_default(), Default::default()),
    }
}

/// Longest name of anything, in bytes.
const LONGEST: usize = 1024;

/// A name as logs and answers can hold it; an empty one is none.
fn name(text: Option<&str>) -> Result<Option<Arc<str>>, NotAnIdentity> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.len() > LONGEST || text.chars().any(char::is_control) {
        return Err(NotAnIdentity("a name of the identity is too long or holds control characters"));
    }
    Ok(Some(text.into()))
}

#[cfg(test)]
mod tests;
