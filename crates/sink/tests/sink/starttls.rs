//! STARTTLS (RFC 3207): what is said before it counts for nothing, and certificates are renewed while
//! the sink runs.

use crate::peer::{DOMAIN, Peer, Running, address, expect, keyring, start_with};
use domain::TokenKind;
use rcgen::{CertificateParams, KeyPair};
use sink::{Protocol, Sink, SinkError, SinkSettings, TlsFiles};
use std::{path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;
use testkit::{SystemClock, fresh_sqlite};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring},
};

const MAIL: &[u8] = b"From: a@b.jp\r\nSubject: Re: drill\r\n\r\nsafe\r\n";

/// A certificate and its key in files, and whoever trusts that one alone.
struct Certificate {
    folder: TempDir,
    files: TlsFiles,
}

impl Certificate {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let files = TlsFiles {
            certificate: folder.path().join("certificate.pem"),
            key: folder.path().join("key.pem"),
        };
        Self { folder, files }
    }

    /// Writes a new pair; later than the one before, however fast.
    fn renewed(&self, minutes: u64) -> TlsConnector {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![DOMAIN.to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate");
        for (file, text) in
            [(&self.files.certificate, certificate.pem()), (&self.files.key, key.serialize_pem())]
        {
            std::fs::write(file, text).expect("written");
            let file = std::fs::File::options().append(true).open(file).expect("opened");
            let written = file.metadata().and_then(|found| found.modified()).expect("its time");
            file.set_modified(written + Duration::from_secs(60 * minutes)).expect("its time");
        }
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).expect("a root");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }
}

/// Says hello and STARTTLS.
async fn asks(sink: &Running) -> Peer {
    let mut peer = sink.greeted().await;
    expect(&peer.says("STARTTLS").await, "220");
    peer
}

#[tokio::test]
async fn a_reply_comes_in_over_tls_and_starttls_is_offered_once() {
    let certificate = Certificate::new();
    let trusting = certificate.renewed(0);
    let sink = start_with(|settings| settings.tls = Some(certificate.files.clone())).await;
    let mut peer = sink.connect().await;
    assert!(peer.says("EHLO peer.example").await.contains("STARTTLS"));
    expect(&peer.says("STARTTLS").await, "220");
    let mut peer = peer.secured(&trusting).await.expect("a handshake");
    expect(&peer.says("MAIL FROM:<a@b.jp>").await, "503");
    assert!(!peer.says("EHLO peer.example").await.contains("STARTTLS"));
    expect(&peer.says("STARTTLS").await, "502");
    expect(&peer.delivers("a@b.jp", &address(TokenKind::Reply, 1), MAIL).await, "250");
    assert_eq!(sink.stored().await.len(), 1);
}

#[tokio::test]
async fn what_was_said_before_the_handshake_counts_for_nothing_after_it() {
    let certificate = Certificate::new();
    let trusting = certificate.renewed(0);
    let sink = start_with(|settings| settings.tls = Some(certificate.files.clone())).await;
    let mut peer = sink.greeted().await;
    expect(&peer.says("MAIL FROM:<a@b.jp>").await, "250");
    let injected = format!(
        "STARTTLS\r\nEHLO attacker.example\r\nMAIL FROM:<x@y.jp>\r\nRCPT TO:<{}>\r\n",
        address(TokenKind::Reply, 1)
    );
    peer.sends(injected.as_bytes()).await;
    expect(&peer.answer().await, "220");
    let mut peer = peer.secured(&trusting).await.expect("a handshake");
    expect(&peer.says("DATA").await, "503");
    expect(&peer.says("NOOP").await, "250 2.0.0 ok");
    assert!(sink.stored().await.is_empty());
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_a_restart_and_a_broken_one_is_not() {
    let certificate = Certificate::new();
    let old = certificate.renewed(0);
    let sink = start_with(|settings| settings.tls = Some(certificate.files.clone())).await;
    asks(&sink).await.secured(&old).await.map(|_| ()).expect("the first one");
    let new = certificate.renewed(1);
    assert!(asks(&sink).await.secured(&old).await.is_err(), "the old one is gone");
    asks(&sink).await.secured(&new).await.map(|_| ()).expect("the renewed one");
    std::fs::write(&certificate.files.certificate, "half written").expect("written");
    asks(&sink).await.secured(&new).await.map(|_| ()).expect("still the last one that was whole");
    drop(certificate.folder);
    asks(&sink).await.secured(&new).await.map(|_| ()).expect("even without files");
}

#[tokio::test]
async fn a_client_that_begins_a_handshake_and_stops_is_cut_off() {
    let certificate = Certificate::new();
    let _trusting = certificate.renewed(0);
    let sink = start_with(|settings| {
        settings.tls = Some(certificate.files.clone());
        settings.idle = Duration::from_millis(200);
    });
    let mut silent = asks(&sink.await).await;
    assert_eq!(silent.rest().await, "");
}

#[tokio::test]
async fn files_that_are_no_certificate_are_named_at_the_start() {
    let database = fresh_sqlite().await;
    let replies = replybox::ReplyBox::connect(&database.replies_url).await.expect("the reply database");
    let certificate = Certificate::new();
    let _trusting = certificate.renewed(0);
    let missing = TlsFiles { key: Path::new("/nowhere/key.pem").to_owned(), ..certificate.files.clone() };
    let other = Certificate::new();
    let _trusting = other.renewed(0);
    let mixed = TlsFiles { key: other.files.key.clone(), ..certificate.files.clone() };
    for (files, said) in [(missing, "/nowhere/key.pem"), (mixed, "make no pair")] {
        let mut settings = SinkSettings::new(([127, 0, 0, 1], 0).into(), Protocol::Smtp, DOMAIN);
        settings.tls = Some(files);
        let bound = Sink::bind(settings, keyring(), replies.clone(), Arc::new(SystemClock)).await;
        let Err(SinkError::Tls(problem)) = bound else { panic!("it cannot start") };
        assert!(problem.to_string().contains(said), "{problem}");
    }
}
