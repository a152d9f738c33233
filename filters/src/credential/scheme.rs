//! The words in front of a credential, and what stands behind them. In the spellings that LiteLLM takes, and in no others: a
//! value that LiteLLM calls malformed is so here.

/// The scheme word in front of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemeWord {
    /// None: the bare value, or a place that has no schemes.
    None,
    /// `Bearer` (RFC 6750).
    Bearer,
    /// `DPoP` (RFC 9449, section 7.1): the request says that it proves the key to which its token is bound.
    Dpop,
    /// `Basic`, which LiteLLM's clients put in front of keys, or an AWS signature.
    Other,
}

/// The text behind one of LiteLLM's schemes.
pub(super) fn behind_scheme(value: &str) -> Option<(&str, SchemeWord)> {
    const WORDS: [(&str, SchemeWord); 3] =
        [("Bearer ", SchemeWord::Bearer), ("bearer ", SchemeWord::Bearer), ("Basic ", SchemeWord::Other)];
    if let Some((mut text, scheme)) = WORDS.iter().find_map(|(word, scheme)| Some((value.strip_prefix(word)?, *scheme)))
    {
        // LiteLLM removes the word wherever it stands; clients that add it twice exist.
        while let Some(rest) = text.strip_prefix("Bearer ") {
            text = rest;
        }
        return Some((text, scheme));
    }
    let fields = value.strip_prefix("AWS4-HMAC-SHA256")?;
    let (_, credential) = fields.split_once("Credential=")?;
    let credential = credential.strip_prefix("Bearer ").unwrap_or(credential);
    Some((credential.split(['/', ' ', ',']).next()?, SchemeWord::Other))
}

/// In any case, as RFC 9110, section 11.1, has it: LiteLLM knows no such scheme, so there is no habit of its to keep.
pub(super) fn behind_dpop(value: &str) -> Option<(&str, SchemeWord)> {
    let (word, text) = value.split_once(' ')?;
    word.eq_ignore_ascii_case("DPoP").then(|| (text.trim_start_matches(' '), SchemeWord::Dpop))
}
