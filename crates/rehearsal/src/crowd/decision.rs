//! What a member does about a mail, and when.

use super::{CrowdPlan, Kind, letter::Letter};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{collections::HashSet, time::Duration};

/// People who open their link and believe that this was the report (incidents.md C).
const OPEN_ONLY_SHARE: f64 = 0.05;

/// So many more people than needed are picked to reply that too few are hardly ever found.
const SPARE_REPLIERS: usize = 8;

/// A delay in minutes: half are below the median, none above the longest.
struct Pace {
    median: f64,
    longest: f64,
}

const ANSWER: Pace = Pace { median: 3.0, longest: 12.0 };
const REPLY: Pace = Pace { median: 4.0, longest: 15.0 };
const MACHINE: Pace = Pace { median: 0.2, longest: 2.0 };
/// Standard deviation of the delay's logarithm: a few are quick, a long tail is slow.
const SPREAD: f64 = 0.7;

/// What a member does with the personal link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    Answer,
    OpenOnly,
}

/// What one member does about one mail.
#[derive(Debug)]
pub(super) struct Decision {
    /// The member's own number.
    pub(super) person: u64,
    /// Random and the same for this member and mail whenever it is decided.
    pub(super) draw: u64,
    pub(super) link: Option<(Link, Duration)>,
    pub(super) mail: Option<(Kind, Duration)>,
}

/// What the crowd has done, so that nobody does it twice.
#[derive(Debug)]
pub(super) struct Memory {
    acted: HashSet<u64>,
    answered: HashSet<u64>,
    wrote: HashSet<u64>,
    unreachable: HashSet<u64>,
    left: [(Kind, usize); 4],
    /// Share of the people who may be picked to write back.
    repliers: f64,
}

impl Memory {
    pub(super) fn new(plan: &CrowdPlan) -> Self {
        let left = [
            (Kind::Plain, plan.plain_replies),
            (Kind::ToAll, plan.reply_alls),
            (Kind::Away, plan.auto_replies),
            (Kind::Bounce, plan.bounces),
        ];
        let wanted: usize = left.iter().map(|(_, count)| count).sum();
        let repliers = (2 * wanted + SPARE_REPLIERS) as f64 / plan.audience.max(1) as f64;
        Self {
            acted: HashSet::new(),
            answered: HashSet::new(),
            wrote: HashSet::new(),
            unreachable: HashSet::new(),
            left,
            repliers,
        }
    }

    pub(super) fn decide(&mut self, plan: &CrowdPlan, letter: &Letter) -> Decision {
        let person = hash(&[&plan.seed.to_be_bytes(), letter.recipient.to_ascii_lowercase().as_bytes()]);
        let draw = hash(&[&person.to_be_bytes(), letter.message_id.as_bytes()]);
        let mut decision = Decision { person, draw, link: None, mail: None };
        if !self.acted.insert(draw) {
            return decision;
        }
        let mut rng = StdRng::seed_from_u64(draw);
        // Drawn in any case and in this order, so that one decision does not shift the next.
        let (reply, kind, link) = (rng.random::<f64>(), rng.random::<f64>(), rng.random::<f64>());
        let (answer_delay, reply_delay) = (rng.random::<[f64; 2]>(), rng.random::<[f64; 2]>());
        if reply < self.repliers && letter.can_be_answered_by_mail() && !self.wrote.contains(&person) {
            decision.mail =
                self.take_kind(kind).map(|kind| (kind, pace(kind).delay(plan.time_scale, reply_delay)));
        }
        match decision.mail {
            Some((Kind::Bounce, _)) => {
                self.wrote.insert(person);
                self.unreachable.insert(person);
            }
            Some((Kind::Plain | Kind::ToAll | Kind::Away, _)) => {
                self.wrote.insert(person);
            }
            None => {}
        }
        if letter.link.is_some() && !self.unreachable.contains(&person) {
            decision.link = choose_link(plan.answer_share, link)
                .map(|link| (link, ANSWER.delay(plan.time_scale, answer_delay)));
        }
        decision
    }

    /// Claims a questionnaire for a person; `false` if it is answered or being answered.
    pub(super) fn begin_answering(&mut self, sheet: u64) -> bool {
        self.answered.insert(sheet)
    }

    pub(super) fn forget_answering(&mut self, sheet: u64) {
        self.answered.remove(&sheet);
    }

    /// One of the kinds that are still wanted, in proportion to how many are.
    fn take_kind(&mut self, draw: f64) -> Option<Kind> {
        let wanted: usize = self.left.iter().map(|(_, count)| count).sum();
        let mut at = (draw * wanted as f64) as usize;
        for (kind, count) in &mut self.left {
            if at < *count {
                *count -= 1;
                return Some(*kind);
            }
            at -= *count;
        }
        None
    }
}

/// Names a questionnaire to one person: who, the page's title and the names of its fields.
pub(super) fn sheet(person: u64, page: &str, fields: &[(String, String)]) -> u64 {
    let title = page
        .split_once("<title>")
        .and_then(|(_, rest)| rest.split_once("</title>"))
        .map_or("", |(title, _)| title.trim());
    let person = person.to_be_bytes();
    let mut parts: Vec<&[u8]> = vec![&person, title.as_bytes()];
    parts.extend(fields.iter().map(|(name, _)| name.as_bytes()));
    hash(&parts)
}

fn choose_link(answer_share: f64, draw: f64) -> Option<Link> {
    if draw < answer_share {
        Some(Link::Answer)
    } else if draw < answer_share + OPEN_ONLY_SHARE {
        Some(Link::OpenOnly)
    } else {
        None
    }
}

fn pace(kind: Kind) -> &'static Pace {
    match kind {
        Kind::Plain | Kind::ToAll => &REPLY,
        Kind::Away | Kind::Bounce => &MACHINE,
    }
}

impl Pace {
    /// Log-normal, by Box and Muller from two draws in 0..1.
    fn delay(&self, time_scale: f64, [radius, angle]: [f64; 2]) -> Duration {
        let normal = (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos();
        let minutes = (self.median * (SPREAD * normal).exp()).min(self.longest);
        Duration::try_from_secs_f64(minutes * 60.0 * time_scale.max(0.0)).unwrap_or(Duration::ZERO)
    }
}

/// FNV-1a with a final mix: stable across versions of the standard library, unlike its hashers.
pub(super) fn hash(parts: &[&[u8]]) -> u64 {
    let mut state: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        // The part's end counts, so that ("ab", "c") and ("a", "bc") differ.
        for byte in part.iter().chain(&(part.len() as u32).to_be_bytes()) {
            state = (state ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    let state = (state ^ (state >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let state = (state ^ (state >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    state ^ (state >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn plan(audience: usize) -> CrowdPlan {
        let sink = "127.0.0.1:9".parse().expect("an address");
        CrowdPlan { audience, ..CrowdPlan::new(5, sink, Arc::new(|_, _| Vec::new())) }
    }

    fn letter(member: usize, notice: &str) -> Letter {
        let raw = format!(
            "Message-ID: <{notice}.{member}@example.jp>\r\nReply-To: t{member}@reply.example.jp\r\n\r\n\
             x\r\nhttp://127.0.0.1:1/r/t{member}\r\n"
        );
        Letter::read(raw.as_bytes(), "b@bounce.example.jp", &format!("m{member}@example.jp"))
            .expect("a letter")
    }

    fn round(memory: &mut Memory, plan: &CrowdPlan, notice: &str) -> Vec<Decision> {
        (0..plan.audience).map(|member| memory.decide(plan, &letter(member, notice))).collect()
    }

    #[test]
    fn the_first_notice_finds_exactly_the_planned_repliers() {
        for audience in [80, 400, 4_000] {
            let plan = plan(audience);
            let mut memory = Memory::new(&plan);
            let first = round(&mut memory, &plan, "n1");
            let of = |wanted: fn(&Kind) -> bool| {
                first.iter().filter_map(|d| d.mail.as_ref()).filter(|(kind, _)| wanted(kind)).count()
            };
            assert_eq!(of(|k| matches!(k, Kind::Plain)), 17);
            assert_eq!(of(|k| matches!(k, Kind::ToAll)), 3);
            assert_eq!(of(|k| matches!(k, Kind::Away)), 24);
            assert_eq!(of(|k| matches!(k, Kind::Bounce)), 12);
            assert!(round(&mut memory, &plan, "n2").iter().all(|d| d.mail.is_none()));
        }
    }

    #[test]
    fn the_share_that_answers_is_the_planned_one_and_a_reminder_finds_more() {
        let plan = plan(4_000);
        let mut memory = Memory::new(&plan);
        let answers = |d: &Decision| matches!(d.link, Some((Link::Answer, _)));
        let first = round(&mut memory, &plan, "n1");
        let answered = first.iter().filter(|d| answers(d)).count();
        assert!((2_300..2_500).contains(&answered), "{answered}");
        let opened = first.iter().filter(|d| matches!(d.link, Some((Link::OpenOnly, _)))).count();
        assert!((150..250).contains(&opened), "{opened}");
        let reminded = round(&mut memory, &plan, "n2");
        let late = first.iter().zip(&reminded).filter(|(f, r)| !answers(f) && answers(r)).count();
        assert!((800..1_100).contains(&late), "{late}");
    }

    #[test]
    fn the_same_mail_twice_is_acted_on_once() {
        let plan = plan(200);
        let mut memory = Memory::new(&plan);
        assert!(round(&mut memory, &plan, "n1").iter().any(|d| d.link.is_some()));
        assert!(round(&mut memory, &plan, "n1").iter().all(|d| d.link.is_none() && d.mail.is_none()));
    }

    #[test]
    fn delays_follow_the_scale_and_have_an_end() {
        for step in 0..100 {
            let draws = [f64::from(step) / 100.0, 0.0];
            assert_eq!(ANSWER.delay(0.0, draws), Duration::ZERO);
            assert!(ANSWER.delay(1.0, draws) <= Duration::from_secs(12 * 60));
        }
        assert_eq!(ANSWER.delay(f64::NAN, [0.5, 0.5]), Duration::ZERO);
    }
}
