//! A certificate for the length of one test, and a client that trusts nothing else.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A self-signed certificate for `localhost` and its key.
#[derive(Debug)]
pub struct TestCertificate {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key_pem: String,
}

impl TestCertificate {
    /// Makes one.
    ///
    /// # Panics
    ///
    /// When the cryptographic library refuses, which it does for no input of ours.
    #[expect(clippy::new_without_default, reason = "each one is another certificate, which is no default")]
    pub fn new() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a valid host name");
        TestCertificate { certificate_pem: cert.pem(), key_pem: signing_key.serialize_pem(), certificate: cert.into() }
    }

    /// Writes `certificate.pem` and `key.pem` into `directory` and returns their paths.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn write(&self, directory: &Path) -> std::io::Result<(PathBuf, PathBuf)> {
        let (certificate, key) = (directory.join("certificate.pem"), directory.join("key.pem"));
        std::fs::write(&certificate, &self.certificate_pem)?;
        std::fs::write(&key, &self.key_pem)?;
        Ok((certificate, key))
    }

    /// A client that trusts this certificate only and offers HTTP/2 only.
    ///
    /// # Panics
    ///
    /// When the cryptographic library refuses the certificate that it made.
    pub fn h2_client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config =
            builder.expect("the provider's own versions").with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }
}

#[cfg(test)]
mod tests {
    use super::TestCertificate;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    #[test]
    fn writes_a_pair_that_a_server_takes() {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = TestCertificate::new().write(directory.path()).unwrap();
        let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        builder.with_no_client_auth().with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap();
    }
}
