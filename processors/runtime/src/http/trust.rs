//! Whose certificates are trusted, and how it is told that one is not.

use std::error::Error as StdError;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, RootCertStore};

use super::Error;

/// TLS 1.2 and 1.3, with the system's authorities and those of `ca_file`.
pub(super) fn config(ca_file: Option<&Path>) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in system.errors {
        tracing::debug!(%error, "certificates of the system");
    }
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = ca_file {
        add_file(&mut roots, path).map_err(|reason| Error::CaFile { path: path.to_owned(), reason })?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let before = roots.len();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())? {
        roots.add(certificate.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    }
    if roots.len() == before { Err("it holds no certificate".to_owned()) } else { Ok(()) }
}

/// What TLS had against the connection, with what to do; `None` when it was something else.
pub(super) fn refusal(error: &(dyn StdError + 'static)) -> Option<String> {
    Some(match cause(error)? {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the target's certificate is of an unknown authority: put that authority's certificate into the file that effects.ca_file \
             (FOREBAY__EFFECTS__CA_FILE) names"
                .to_owned()
        }
        rustls::Error::InvalidCertificate(why) => format!("the target's certificate is refused: {why}"),
        other => format!("no TLS with the target: {other}"),
    })
}

/// The TLS error in a chain of errors. Those of I/O hide what they wrap from the chain.
fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    if let Some(tls) = error.downcast_ref() {
        return Some(tls);
    }
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => cause(wrapped),
        None => cause(error.source()?),
    }
}
