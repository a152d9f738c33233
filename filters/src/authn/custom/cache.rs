//! Answers of the operator's code that may be used again: for the same credential, and the same values of everything that the
//! answer depends on.
//!
//! What must stay true: nothing is used again that did not say so; what is used again is never older than five minutes nor
//! than the identity's own end; and two requests that differ in what an answer depends on never share it.

use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::super::virtual_key::KeyHash;
use super::{CustomAnswer, CustomRequest, Facet, Verdict};

/// Answers to one credential that are held at once; a further one takes the place of the oldest.
const MOST_VARIANTS: usize = 8;

/// The answers that are held.
pub(super) struct KeptAnswers(quick_cache::sync::Cache<KeyHash, Arc<[Variant]>>);

#[derive(Clone)]
struct Variant {
    facets: Arc<[Facet]>,
    values: [u8; 32],
    verdict: Verdict,
    usable_until: SystemTime,
}

impl KeptAnswers {
    /// Answers to so many credentials at most.
    pub(super) fn new(max: u64) -> Self {
        Self(crate::cache::bounded(max))
    }

    /// What was said of such a request.
    pub(super) fn recall(&self, request: &CustomRequest<'_>) -> Option<Verdict> {
        let variants = self.0.get(&name(request))?;
        let same = |variant: &&Variant| {
            request.now < variant.usable_until && values(&variant.facets, request) == variant.values
        };
        variants.iter().find(same).map(|variant| variant.verdict.clone())
    }

    /// Holds an answer that says for how long. A function that may have looked at the body said nothing about it, so an
    /// answer to a request with one is not held.
    pub(super) fn keep(&self, request: &CustomRequest<'_>, answer: &CustomAnswer) {
        let Some(keep) = answer.keep.as_ref().filter(|keep| !keep.ttl.is_zero() && request.body.is_none()) else {
            return;
        };
        let mut usable_until = request.now + keep.ttl;
        match &answer.verdict {
            Verdict::Proven(identity) => {
                usable_until = identity.expires().map_or(usable_until, |end| end.min(usable_until));
            }
            Verdict::Refused { .. } => {}
            Verdict::Key(_) | Verdict::NotMine => return,
        }
        let name = name(request);
        let fresh = Variant {
            values: values(&keep.facets, request),
            facets: keep.facets.clone().into(),
            verdict: answer.verdict.clone(),
            usable_until,
        };
        let known = self.0.get(&name);
        let others = known.iter().flat_map(|variants| variants.iter());
        let others = others.filter(|other| {
            request.now < other.usable_until && (other.values != fresh.values || other.facets != fresh.facets)
        });
        let variants = std::iter::once(&fresh).chain(others).take(MOST_VARIANTS).cloned().collect();
        self.0.insert(name, variants);
    }
}

/// The credential, none at all and one without its scheme told apart.
fn name(request: &CustomRequest<'_>) -> KeyHash {
    let mut digest = Sha256::new();
    digest.update([u8::from(request.credential.is_some())]);
    digest.update(request.credential.unwrap_or_default());
    <[u8; 32]>::from(digest.finalize()).into()
}

/// Everything of the request that these facets stand for; each value with its length before it, so that no two run together.
fn values(facets: &[Facet], request: &CustomRequest<'_>) -> [u8; 32] {
    let mut digest = Sha256::new();
    let mut add = |value: Option<&[u8]>| {
        digest.update(value.map_or(u64::MAX, |value| value.len() as u64).to_be_bytes());
        digest.update(value.unwrap_or_default());
    };
    let head = request.head;
    for facet in facets {
        match facet {
            Facet::Method => add(Some(head.method.as_str().as_bytes())),
            Facet::Path => add(Some(head.path.as_str().as_bytes())),
            Facet::Query => add(head.query.map(str::as_bytes)),
            Facet::Source => add(head.source.map(|source| source.to_string()).as_deref().map(str::as_bytes)),
            Facet::Header(name) => {
                head.headers.get_all(name).iter().for_each(|value| add(Some(value.as_bytes())));
                add(None);
            }
        }
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use bytes::Bytes;
    use http::{HeaderMap, Method};

    use super::*;
    use crate::authn::custom::CustomIdentity;
    use crate::head::RequestHead;
    use crate::path::CanonicalPath;

    #[derive(Clone)]
    struct Ask {
        credential: Option<&'static str>,
        path: &'static str,
        query: Option<&'static str>,
        header: Option<&'static str>,
        now: u64,
        body: Option<Bytes>,
    }

    const ASK: Ask = Ask { credential: Some("c"), path: "/a", query: None, header: None, now: 0, body: None };

    impl Ask {
        fn with<T>(&self, then: impl FnOnce(&CustomRequest<'_>) -> T) -> T {
            let mut headers = HeaderMap::new();
            if let Some(value) = self.header {
                headers.insert("x-tenant", value.parse().unwrap());
            }
            let path = CanonicalPath::parse(self.path).unwrap();
            let head = RequestHead {
                method: &Method::GET,
                path: &path,
                query: self.query,
                headers: &headers,
                source: None,
                client_certificate: None,
            };
            let now = UNIX_EPOCH + Duration::from_secs(self.now);
            then(&CustomRequest { head: &head, credential: self.credential, body: self.body.as_ref(), now })
        }
    }

    fn answer(identity: &str, depends_on: &str) -> CustomAnswer {
        let json = format!(
            r#"{{"outcome": "proven", "identity": {identity}, "keep": {{"seconds": 60, "depends_on": {depends_on}}}}}"#
        );
        CustomAnswer::read(json.as_bytes(), None).unwrap()
    }

    #[test]
    fn an_answer_is_used_for_what_it_depends_on_and_nothing_else() {
        let elsewhere = |change: fn(&mut Ask)| {
            let mut ask = ASK.clone();
            change(&mut ask);
            ask
        };
        for (depends_on, other, used) in [
            ("[]", elsewhere(|_| {}), true),
            ("[]", elsewhere(|ask| ask.path = "/b"), true),
            ("[]", elsewhere(|ask| ask.credential = Some("d")), false),
            ("[]", elsewhere(|ask| ask.credential = None), false),
            ("[]", elsewhere(|ask| ask.now = 59), true),
            ("[]", elsewhere(|ask| ask.now = 60), false),
            (r#"["path"]"#, elsewhere(|ask| ask.path = "/b"), false),
            (r#"["path"]"#, elsewhere(|ask| ask.header = Some("x")), true),
            (r#"["query"]"#, elsewhere(|ask| ask.query = Some("")), false),
            (r#"["header:x-tenant"]"#, elsewhere(|ask| ask.header = Some("x")), false),
            (r#"["header:x-tenant"]"#, elsewhere(|ask| ask.path = "/b"), true),
        ] {
            let kept = KeptAnswers::new(10);
            ASK.with(|request| kept.keep(request, &answer("{}", depends_on)));
            assert!(ASK.with(|request| kept.recall(request)).is_some());
            assert_eq!(other.with(|request| kept.recall(request)).is_some(), used, "{depends_on}");
        }
    }

    #[test]
    fn what_does_not_say_so_or_may_depend_on_the_body_is_not_used_again() {
        let kept = KeptAnswers::new(10);
        let silent = CustomAnswer { keep: None, ..answer("{}", "[]") };
        ASK.with(|request| kept.keep(request, &silent));
        let with_body = Ask { body: Some(Bytes::from_static(b"x")), ..ASK };
        with_body.with(|request| kept.keep(request, &answer("{}", "[]")));
        let key = CustomAnswer { verdict: Verdict::Key("sk-1".into()), ..answer("{}", "[]") };
        ASK.with(|request| kept.keep(request, &key));
        assert!(ASK.with(|request| kept.recall(request)).is_none());
    }

    #[test]
    fn an_identity_is_not_used_beyond_its_end() {
        let kept = KeptAnswers::new(10);
        ASK.with(|request| kept.keep(request, &answer(r#"{"expires": 30}"#, "[]")));
        assert!(Ask { now: 29, ..ASK }.with(|request| kept.recall(request)).is_some());
        assert!(Ask { now: 30, ..ASK }.with(|request| kept.recall(request)).is_none());
    }

    #[test]
    fn variants_are_apart_and_not_too_many() {
        let kept = KeptAnswers::new(10);
        let paths = ["/0", "/1", "/2", "/3", "/4", "/5", "/6", "/7", "/8", "/9"];
        for path in paths {
            let identity = format!(r#"{{"user_id": "{path}"}}"#);
            Ask { path, ..ASK }.with(|request| kept.keep(request, &answer(&identity, r#"["path"]"#)));
        }
        let found = |path| match (Ask { path, ..ASK }).with(|request| kept.recall(request)) {
            Some(Verdict::Proven(identity)) => {
                let CustomIdentity { principal, .. } = *identity;
                Some(principal.id.to_string())
            }
            _ => None,
        };
        assert_eq!((found("/9"), found("/2")), (Some("/9".to_owned()), Some("/2".to_owned())));
        assert_eq!((found("/1"), found("/0")), (None, None));
    }
}
