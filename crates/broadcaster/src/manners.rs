//! What a recipient's domain is spared beyond its rate, and the profile for the Japanese carriers.

use domain::Rate;
use std::time::Duration;

/// How to behave towards one domain; within this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Manners {
    /// Submissions under way at once.
    pub at_once: Option<u32>,
    /// Mails over one connection; then it is opened anew.
    pub messages_per_connection: Option<u32>,
    /// From a twentieth of its rate to all of it over so long, after a time without mail.
    pub ramp: Option<Duration>,
}

/// Domains of mobile carriers. Their servers take few connections and little at once, and answer
/// a burst by turning the sender away for a while (what docomo, au and SoftBank say of bulk mail
/// is in their notes for senders; none of them publishes figures).
const CARRIERS: [&str; 25] = [
    "docomo.ne.jp",
    "ezweb.ne.jp",
    "au.com",
    "biz.au.com",
    "uqmobile.jp",
    "softbank.ne.jp",
    "i.softbank.jp",
    "disney.ne.jp",
    "d.vodafone.ne.jp",
    "h.vodafone.ne.jp",
    "t.vodafone.ne.jp",
    "c.vodafone.ne.jp",
    "r.vodafone.ne.jp",
    "k.vodafone.ne.jp",
    "n.vodafone.ne.jp",
    "s.vodafone.ne.jp",
    "q.vodafone.ne.jp",
    "ymobile.ne.jp",
    "ymobile1.ne.jp",
    "y-mobile.ne.jp",
    "emnet.ne.jp",
    "pdx.ne.jp",
    "wcm.ne.jp",
    "willcom.com",
    "rakumail.jp",
];

/// Cautious, and to be changed where a carrier or a relay says more (`relay.per_domain`).
const CARRIER_RATE: &str = "5/s";
const CARRIER_MANNERS: Manners =
    Manners { at_once: Some(2), messages_per_connection: Some(20), ramp: Some(Duration::from_secs(600)) };

/// The shipped profile: every carrier's domain with its rate and manners.
pub fn carriers() -> impl Iterator<Item = (&'static str, Rate, Manners)> {
    let rate: Rate = CARRIER_RATE.parse().expect("invariant: the profile's rate is one");
    CARRIERS.into_iter().map(move |domain| (domain, rate, CARRIER_MANNERS))
}
