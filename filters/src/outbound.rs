//! The outbound guard: where a request may go when a client chose the host.
//!
//! The name is looked up once, all its addresses are judged, and one of those is dialled; nothing is looked up again
//! behind the guard's back. What the operator allows (a host, a network) is open, without TLS as well; of the rest only
//! public addresses under `https`.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::LazyLock;

use ipnet::IpNet;
use url::{Host, Url};

use crate::denial::Denial;

/// `portcullis.outbound.allow`. `Default` allows public hosts under `https` only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outbound {
    /// Exceptions.
    pub allow: Vec<Allowed>,
}

/// One exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Addresses, whatever name they were found under.
    Network(IpNet),
    /// A host by its name or, as `*.example.com`, everything below it; any port, or this one.
    Host {
        /// In lower case, without the star.
        name: String,
        /// Whether names below it are meant, and not itself.
        below: bool,
        /// Which port.
        port: Option<u16>,
    },
}

impl FromStr for Allowed {
    type Err = &'static str;

    /// A network, an address, or a host name with or without `*.` before it and a port behind it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(network) = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
            return Ok(Self::Network(network));
        }
        let expected = "expected a host (api.example.com, *.example.com, vllm:8000) or a network (10.0.0.0/8)";
        let (host, port) = text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
        let port = port.map(|port| port.parse().map_err(|_| expected)).transpose()?;
        let (host, below) = host.strip_prefix("*.").map_or((host, false), |parent| (parent, true));
        match Host::parse(host) {
            Ok(Host::Domain(name)) if !name.contains('*') => {
                Ok(Self::Host { name: name.trim_end_matches('.').to_owned(), below, port })
            }
            _ => Err(expected),
        }
    }
}

impl Allowed {
    fn names(&self, url: &Url) -> bool {
        let (Self::Host { name, below, port }, Some(host)) = (self, url.host_str()) else { return false };
        let host = host.trim_end_matches('.');
        let named = match host.strip_suffix(name.as_str()) {
            Some(rest) if *below => rest.ends_with('.'),
            Some(rest) => rest.is_empty(),
            None => false,
        };
        named && port.is_none_or(|port| url.port_or_known_default() == Some(port))
    }

    fn holds(&self, address: IpAddr) -> bool {
        matches!(self, Self::Network(network) if network.contains(&address))
    }
}

impl Outbound {
    /// Whether this address may be dialled, of which the host was found to be at `addresses`.
    ///
    /// # Errors
    /// [`Denial::ForbiddenDestination`], with a word for the log: nothing was found, one of the addresses is not public, or
    /// the scheme is `http`, and no exception covers it. What a client reads is the same for all of these, or it could ask
    /// for the names and addresses of an inner network.
    pub fn check(&self, url: &Url, addresses: &[IpAddr]) -> Result<(), Denial> {
        if addresses.is_empty() {
            return Err(Denial::ForbiddenDestination("the host has no address"));
        }
        if self.allow.iter().any(|allowed| allowed.names(url)) {
            return Ok(());
        }
        let allowed = |address: &IpAddr| self.allow.iter().any(|allowed| allowed.holds(address.to_canonical()));
        if addresses.iter().all(allowed) {
            return Ok(());
        }
        if url.scheme() != "https" {
            return Err(Denial::ForbiddenDestination("not https"));
        }
        match addresses.iter().all(|address| is_public(*address) || allowed(address)) {
            true => Ok(()),
            false => Err(Denial::ForbiddenDestination("not a public address")),
        }
    }
}

/// Ranges that are not the public internet (IANA's special-purpose registries), and Azure's host service, which is.
const NOT_PUBLIC: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",
    // Within the one block of IPv6 that is public: protocol assignments, documentation, and the two that carry IPv4.
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "2620:4f:8000::/48",
    "3fff::/20",
];

static RANGES: LazyLock<Vec<IpNet>> =
    LazyLock::new(|| NOT_PUBLIC.iter().map(|range| range.parse().expect("a literal network")).collect());

/// Whether an address is on the public internet, as far as its number tells.
fn is_public(address: IpAddr) -> bool {
    let address = address.to_canonical();
    // Of IPv6, IANA has given out 2000::/3 only.
    let given_out = match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => address.segments()[0] >> 13 == 1,
    };
    given_out && !RANGES.iter().any(|range| range.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allow: &[&str], url: &str, addresses: &[&str]) -> bool {
        let allow = allow.iter().map(|text| text.parse().unwrap()).collect();
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Outbound { allow }.check(&url.parse().unwrap(), &addresses).is_ok()
    }

    #[test]
    fn only_public_addresses_under_https_are_dialled() {
        for (address, public) in [
            ("1.1.1.1", true),
            ("168.63.129.17", true),
            ("2606:4700:4700::1111", true),
            ("127.0.0.1", false),
            ("0.0.0.0", false),
            ("10.1.2.3", false),
            ("100.100.100.200", false),
            ("168.63.129.16", false),
            ("169.254.169.254", false),
            ("172.31.255.255", false),
            ("192.168.0.1", false),
            ("198.19.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:169.254.169.254", false),
            ("::127.0.0.1", false),
            ("64:ff9b::7f00:1", false),
            ("2001::1", false),
            ("2001:db8::1", false),
            ("2002:7f00:1::", false),
            ("fe80::1", false),
            ("fd00:ec2::254", false),
            ("ff02::1", false),
        ] {
            assert_eq!(check(&[], "https://a.example/v1", &[address]), public, "{address}");
            assert!(!check(&[], "http://a.example/v1", &[address]), "http to {address}");
            assert!(!check(&[], "https://a.example/v1", &["127.0.0.1", address]), "beside loopback: {address}");
        }
        assert!(!check(&["0.0.0.0/0"], "https://a.example", &[]), "no address at all");
    }

    #[test]
    fn exceptions_are_as_wide_as_they_are_written() {
        for (allow, url, address, allowed) in [
            ("10.0.0.0/8", "http://a.example", "10.1.1.1", true),
            ("10.0.0.0/8", "http://a.example", "11.1.1.1", false),
            ("10.0.0.0/8", "https://a.example", "192.168.0.1", false),
            ("127.0.0.1", "http://localhost:8000", "127.0.0.1", true),
            ("127.0.0.1", "http://localhost:8000", "::ffff:127.0.0.1", true),
            ("127.0.0.1", "http://localhost:8000", "::1", false),
            ("vllm", "http://vllm:8000", "10.1.1.1", true),
            ("vllm", "http://vllm.:8000", "10.1.1.1", true),
            ("vllm:8000", "http://vllm:8000", "10.1.1.1", true),
            ("vllm:8000", "http://vllm:22", "10.1.1.1", false),
            ("VLLM", "http://vllm", "10.1.1.1", true),
            ("vllm", "http://evil-vllm", "10.1.1.1", false),
            ("*.corp.example", "http://a.corp.example", "10.1.1.1", true),
            ("*.corp.example", "http://corp.example", "10.1.1.1", false),
            ("*.corp.example", "http://evilcorp.example", "10.1.1.1", false),
            ("corp.example", "http://a.corp.example", "10.1.1.1", false),
        ] {
            assert_eq!(check(&[allow], url, &[address]), allowed, "{allow} {url} {address}");
        }
        // One address in an allowed network does not open the others of the name.
        assert!(!check(&["10.0.0.0/8"], "http://a.example", &["10.1.1.1", "1.1.1.1"]));
        assert!(check(&["10.0.0.0/8"], "https://a.example", &["10.1.1.1", "1.1.1.1"]));
    }

    #[test]
    fn an_exception_that_is_none_is_a_mistake() {
        for text in ["", "*", "*.", "a*.example", "http://a.example", "10.0.0.0/99", "a.example:port", "a b"] {
            assert!(text.parse::<Allowed>().is_err(), "{text:?}");
        }
    }
}
