//! The certificate that STARTTLS shows.
//!
//! # Security
//! A certificate protects replies on their way from one server to the next; it grants nothing to
//! whoever connects. What was said before the handshake counts for nothing after it (RFC 3207 §4.2).

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::ring,
        pki_types::{
            CertificateDer, PrivateKeyDer,
            pem::{self, PemObject},
        },
    },
};
use tracing::{info, warn};

/// Where certificate and key are, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate first, then its issuers'.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// As configured: both, or none for a sink without STARTTLS. Relative paths start in `folder`.
    ///
    /// # Errors
    /// [`TlsError::Half`].
    pub fn configured(
        folder: &Path,
        certificate: Option<PathBuf>,
        key: Option<PathBuf>,
    ) -> Result<Option<Self>, TlsError> {
        match (certificate, key) {
            (Some(certificate), Some(key)) => {
                Ok(Some(Self { certificate: folder.join(certificate), key: folder.join(key) }))
            }
            (None, None) => Ok(None),
            (Some(_), None) | (None, Some(_)) => Err(TlsError::Half),
        }
    }
}

/// Certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One without the other.
    #[error("`sink.certificate` and `sink.key` go together: set both for STARTTLS, or none")]
    Half,
    /// No file, no right to read it, or no PEM.
    #[error("the file {file} cannot be read as PEM; check `sink.certificate` and `sink.key`")]
    File {
        /// Which one.
        file: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// They do not belong together, or are of a kind not known.
    #[error("`sink.certificate` and `sink.key` make no pair that can be used")]
    Pair(#[from] rustls::Error),
}

/// Certificate and key as they were last read.
pub(crate) struct Tls {
    files: TlsFiles,
    read: Mutex<(Age, TlsAcceptor)>,
}

/// When the files were changed last, in content or in rights.
type Age = [Option<(SystemTime, i64, i64)>; 2];

impl Tls {
    pub(crate) fn read(files: TlsFiles) -> Result<Self, TlsError> {
        let read = Mutex::new((age(&files), acceptor(&files)?));
        Ok(Self { files, read })
    }

    /// With the certificate as it is now: they are renewed while we run. A new one that cannot be
    /// used leaves the old one in place.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let age = age(&self.files);
        if read.0 != age {
            // Whatever comes of it: strangers ask often, and files are not read for each of them.
            read.0 = age;
            match acceptor(&self.files) {
                Ok(acceptor) => {
                    info!("the sink uses the new certificate");
                    read.1 = acceptor;
                }
                Err(problem) => warn!(
                    error = &problem as &dyn std::error::Error,
                    "the new certificate cannot be used yet; the sink goes on with the last one"
                ),
            }
        }
        read.1.clone()
    }
}

fn age(files: &TlsFiles) -> Age {
    [&files.certificate, &files.key].map(|file| {
        let found = file.metadata().ok()?;
        Some((found.modified().ok()?, found.ctime(), found.ctime_nsec()))
    })
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let unreadable = |file: &PathBuf| {
        let file = file.clone();
        move |source| TlsError::File { file, source }
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(unreadable(&files.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(unreadable(&files.key))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
