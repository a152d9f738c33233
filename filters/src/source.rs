//! From which addresses requests are served at all.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::denial::Denial;

/// The addresses that may ask (LiteLLM: `general_settings.allowed_ips`). The default is every one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenSources(Option<Vec<IpNet>>);

impl OpenSources {
    /// These and no other; none at all where there are none.
    #[must_use]
    pub fn only(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(Some(networks.into_iter().collect()))
    }

    /// Whether a request from this address is served. One whose address is not known is not, unless all are.
    ///
    /// # Errors
    /// [`Denial::SourceForbidden`].
    pub fn check(&self, source: Option<IpAddr>) -> Result<(), Denial> {
        let Some(networks) = &self.0 else { return Ok(()) };
        let is_open = |address: IpAddr| networks.iter().any(|network| network.contains(&address));
        match source.map(|address| address.to_canonical()) {
            Some(address) if is_open(address) => Ok(()),
            _ => Err(Denial::SourceForbidden),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_that_are_listed_may_ask() {
        let listed =
            OpenSources::only(["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"].map(|text| text.parse().unwrap()));
        for (address, is_open) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("192.0.2.7", true),
            ("2001:db8::1", true),
            ("192.0.2.8", false),
            ("11.0.0.1", false),
            ("::1", false),
        ] {
            assert_eq!(listed.check(Some(address.parse().unwrap())).is_ok(), is_open, "{address}");
            assert_eq!(OpenSources::default().check(Some(address.parse().unwrap())), Ok(()));
        }
        assert_eq!(listed.check(None), Err(Denial::SourceForbidden));
        assert!(OpenSources::only([]).check(Some("10.0.0.1".parse().unwrap())).is_err());
    }
}
