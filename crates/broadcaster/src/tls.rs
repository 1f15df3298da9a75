//! TLS from the first octet on (`smtps://`, RFC 8314), over our own socket: lettre's would hold
//! each mail back for want of `TCP_NODELAY` and would listen to a reply without end.

use crate::stream::Wire;
use std::{io, sync::Arc};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

/// The secured wire to the relay named `host`. Trusts whom this machine trusts, or
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
pub(crate) async fn secured(wire: Wire, host: &str) -> io::Result<Wire> {
    let mut roots = RootCertStore::empty();
    // Anew for each connection: certificates are renewed while we run.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let advice = "this machine trusts no certificate: install ca-certificates or set SSL_CERT_FILE";
        return Err(io::Error::other(advice));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, wire).await?))
}
