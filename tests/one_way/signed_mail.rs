//! Where the relay does not sign, hansho does: another program checks the signature as a receiver
//! would, with the public key that stands in DNS. The keys in `dkim/` are for this test alone.

use crate::dashboard::post;
use domain::BroadcastState;
use hansho_tests::{Dot, PATIENCE, Society};
use mail_auth::{
    AuthenticatedMessage, DkimResult, MessageAuthenticator, Parameters, ResolverCache, Txt,
    common::{parse::TxtRecordParser, verify::DomainKey},
    hickory_resolver::config::ResolverConfig,
};
use std::{borrow::Borrow, hash::Hash, sync::Arc, time::Instant};

const KEYS: [(&str, &str, &str); 2] = [
    ("rsa", include_str!("dkim/rsa.pem"), include_str!("dkim/rsa.txt")),
    ("ed25519", include_str!("dkim/ed25519.pem"), include_str!("dkim/ed25519.txt")),
];

/// A DNS that knows this one key, whatever is asked.
struct Published(Txt);

impl ResolverCache<Box<str>, Txt> for Published {
    fn get<Q>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        Some(self.0.clone())
    }

    fn remove<Q>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _: Box<str>, _: Txt, _: Instant) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mail_is_signed_and_offers_the_button_where_it_is_configured() {
    for (kind, pem, record) in KEYS {
        let society = Society::plan()
            .members(3)
            .set("HANSHO_SITE__PUBLIC_URL", "https://drill.example.jp")
            .set("HANSHO_BROADCAST__FROM", "訓練本部 <drill@example.jp>")
            .set("HANSHO_BROADCAST__ONE_CLICK_UNSUBSCRIBE", "true")
            .found()
            .await;
        std::fs::write(society.path("dkim.pem"), pem).expect("a key can be written");
        let dkim = "{selector=\"hansho\",domain=\"example.jp\",key_file=\"dkim.pem\"}";
        let _service = society.serve_with(&[], &[("HANSHO_BROADCAST__DKIM", dkim)]).await;
        let body = "{{name}} 様\n\n. 点で始まる行\n行末の空白  \n本日13時に始めます。\n";
        let draft = society.draft("exercise", "all", "訓練 開始のお知らせ", body).await;
        let _frozen = draft.preflight().await;
        let _signed = draft.approve_by(&society.approver).await.done();
        let _released = draft.send().await.done();
        draft.becomes(BroadcastState::Completed, PATIENCE).await;

        for mail in draft.dots().await {
            assert_eq!(verified(&mail.raw, record).await, [true], "{kind}: {}", mail.raw);
            let forged = mail.raw.replacen("\r\nSubject: ", "\r\nSubject: another\r\nSubject: ", 1);
            assert_eq!(verified(&forged, record).await, [false], "{kind}: a second subject was put in");
            let link = unsubscribe_link(&mail);
            let page = post(&society, &link, "List-Unsubscribe=One-Click").await;
            assert_eq!(page.status, 200, "a mail program posts without cookies: {link}");
        }
    }
}

async fn verified(raw: &str, record: &str) -> Vec<bool> {
    let key = DomainKey::parse(record.trim().as_bytes()).expect("a published key");
    let dns = Published(Txt::DomainKey(Arc::new(key)));
    let resolver = MessageAuthenticator::new(ResolverConfig::default(), Default::default());
    let message = AuthenticatedMessage::parse(raw.as_bytes()).expect("a mail");
    let results =
        resolver.expect("a verifier").verify_dkim(Parameters::new(&message).with_txt_cache(&dns)).await;
    results.iter().map(|one| *one.result() == DkimResult::Pass).collect()
}

/// The path of the one link in `List-Unsubscribe`.
fn unsubscribe_link(mail: &Dot) -> String {
    let line = mail.raw.split("\r\n").find_map(|line| line.strip_prefix("List-Unsubscribe: "));
    let link = line.expect("the header").trim_start_matches('<').trim_end_matches('>');
    assert!(mail.raw.contains("\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"));
    link.strip_prefix("https://drill.example.jp").expect("a link of ours").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_sign_is_said_at_the_start() {
    let society = Society::of(0).await;
    let broken = [
        ("{selector=\"s\",domain=\"example.jp\",key_file=\"nowhere.pem\"}", "nowhere.pem cannot be read"),
        ("{selector=\"s\",domain=\"example.jp\",key_file=\"hansho.toml\"}", "openssl genrsa"),
        ("{selector=\"s s\",domain=\"example.jp\",key_file=\"dkim.pem\"}", "not a DNS name"),
        ("{selector=\"s\",domain=\"other.example\",key_file=\"dkim.pem\"}", "the domain of broadcast.from"),
    ];
    std::fs::write(society.path("dkim.pem"), KEYS[1].1).expect("a key can be written");
    for (dkim, said) in broken {
        let call =
            society.hansho(&["serve", "--role", "broadcaster"]).with("HANSHO_BROADCAST__DKIM", dkim).await;
        assert_eq!(call.code, 1, "{dkim}");
        assert!(call.stderr.contains(said), "{dkim}: {}", call.stderr);
    }
}
