//! A DKIM signature over a finished mail (RFC 6376, RFC 8463), where the relay does not sign itself.
//!
//! Guarantees: what a person reads of a notice is under the signature, and a second
//! `From`, `Subject` or `To` put in later breaks it. The rest of the mail stays as it was.

use mail_auth::{
    common::{
        crypto::{Ed25519Key, RsaKey, Sha256},
        headers::HeaderWriter,
    },
    dkim::{Canonicalization, DkimSigner, Done},
};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use std::fmt;

/// What is signed; RFC 8058 §4 wants the two of unsubscribing among it. A name that stands here
/// once more than in the mail cannot be added to it.
const SIGNED_HEADERS: [&str; 19] = [
    "From",
    "From",
    "To",
    "To",
    "Subject",
    "Subject",
    "Date",
    "Date",
    "Reply-To",
    "Reply-To",
    "Message-ID",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Auto-Submitted",
    "Precedence",
];

/// Why a key does not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DkimError {
    /// No private key in PEM, or one of a kind that DKIM does not know.
    #[error(
        "the key is no RSA or Ed25519 private key in PEM; make one with `openssl genrsa -out dkim.pem 2048`"
    )]
    Key,
    /// A name that cannot stand in DNS.
    #[error("the {0} of the DKIM key is not a DNS name")]
    Name(&'static str),
    /// The signature could not be made.
    #[error("the mail could not be signed: {0}")]
    Sign(String),
}

/// A private key, and where its public half is published: `selector._domainkey.domain`.
pub struct Dkim {
    domain: String,
    signer: Signer,
}

enum Signer {
    Rsa(DkimSigner<RsaKey<Sha256>, Done>),
    Ed25519(DkimSigner<Ed25519Key, Done>),
}

impl fmt::Debug for Dkim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dkim({})", self.domain)
    }
}

impl Dkim {
    /// `pem` is an RSA key (PKCS#1 or PKCS#8) or an Ed25519 key (PKCS#8).
    ///
    /// # Errors
    /// [`DkimError::Key`], [`DkimError::Name`].
    pub fn new(selector: &str, domain: &str, pem: &str) -> Result<Self, DkimError> {
        for (what, name) in [("selector", selector), ("domain", domain)] {
            if !is_dns_name(name) {
                return Err(DkimError::Name(what));
            }
        }
        let read = || PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| DkimError::Key);
        let signer = if let Ok(key) = RsaKey::<Sha256>::from_key_der(read()?) {
            let named = DkimSigner::from_key(key).domain(domain).selector(selector);
            Signer::Rsa(relaxed(named.headers(SIGNED_HEADERS)))
        } else {
            // Keys made by OpenSSL leave out the public half that the stricter reading wants.
            let key = Ed25519Key::from_pkcs8_maybe_unchecked_der(read()?.secret_der());
            let named = DkimSigner::from_key(key.map_err(|_| DkimError::Key)?);
            Signer::Ed25519(relaxed(named.domain(domain).selector(selector).headers(SIGNED_HEADERS)))
        };
        Ok(Self { domain: domain.to_ascii_lowercase(), signer })
    }

    /// Whether mail from the domain `from` counts as signed by its own people when `signing` signs (RFC 7489 §3.1.1).
    #[must_use]
    pub fn speaks_for(signing: &str, from: &str) -> bool {
        let (signing, from) = (signing.to_ascii_lowercase(), from.to_ascii_lowercase());
        from == signing || from.ends_with(&format!(".{signing}"))
    }

    /// The mail as it leaves: signed where there is a key.
    ///
    /// # Errors
    /// [`DkimError::Sign`].
    pub fn sign_by(key: Option<&Self>, raw: String) -> Result<String, DkimError> {
        match key {
            Some(key) => key.sign(&raw),
            None => Ok(raw),
        }
    }

    /// The mail with its signature in front.
    ///
    /// # Errors
    /// [`DkimError::Sign`].
    fn sign(&self, raw: &str) -> Result<String, DkimError> {
        let signature = match &self.signer {
            Signer::Rsa(signer) => signer.sign(raw.as_bytes()),
            Signer::Ed25519(signer) => signer.sign(raw.as_bytes()),
        };
        let header = signature.map_err(|problem| DkimError::Sign(problem.to_string()))?.to_header();
        Ok(header + raw)
    }
}

/// Relays fold headers anew and trim line ends; the signature outlives that.
fn relaxed<K: mail_auth::common::crypto::SigningKey>(signer: DkimSigner<K, Done>) -> DkimSigner<K, Done> {
    signer.header_canonicalization(Canonicalization::Relaxed).body_canonicalization(Canonicalization::Relaxed)
}

fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    name.len() <= 253 && name.split('.').all(label)
}
