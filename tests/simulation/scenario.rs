//! One simulated run: what is drawn from the seed, how it goes, and what is left as evidence.

use crate::{
    network::{Manners, Network, Record},
    world::{Odds, Process, SimClock, World},
};
use broadcaster::{Broadcaster, Bug, Settings, UnknownPolicy};
use domain::{
    BroadcastEvent, BroadcastId, BroadcastState, DeliveryState, EmailAddress, Keyring, MemberId, Nature,
    Role, Signature, StaffId, TokenKey,
};
use notice::{DigestBuilder, NoticeText, Terms, message_id};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use store::{
    Broadcast, FreezeRow, Limits,
    model::{Books, LedgerBug, Model, ModelRow},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

pub(crate) const STEP_TIMEOUT: Duration = Duration::from_secs(2);
pub(crate) const DOT_TIMEOUT: Duration = Duration::from_secs(5);
pub(crate) const RETRY_FIRST: Duration = Duration::from_secs(2);
/// As long as this, things go wrong; then everything must come to its end.
const TROUBLE: Duration = Duration::from_secs(25);
/// A run that takes longer hangs.
const END: Duration = Duration::from_secs(2 * 3_600);
/// A hanging process has woken up by then.
const AWAKE: Duration = Duration::from_secs(80);
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const ID: BroadcastId = BroadcastId::new(1);
const DOMAINS: [&str; 3] = ["docomo.ne.jp", "example.jp", "example.com"];

/// Where a bug is planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planted {
    Ledger(LedgerBug),
    Sender(Bug),
}

/// What a seed stands for.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) recipients: u32,
    pub(crate) workers: u32,
    pub(crate) connections: u32,
    pub(crate) messages_per_connection: Option<u32>,
    pub(crate) chunk_size: u32,
    pub(crate) chunk_budget: Duration,
    pub(crate) limits: Limits,
    pub(crate) retry_unknown: bool,
    pub(crate) finish_after: Option<Duration>,
    /// A person stops, and resumes or does not.
    pub(crate) stop: Option<(Duration, Option<Duration>)>,
    pub(crate) tampered: bool,
    pub(crate) manners: Manners,
    pub(crate) odds: Odds,
    /// Of one worker, as on SQLite or on PostgreSQL.
    pub(crate) turns_at_once: usize,
}

impl Plan {
    fn draw(dice: &mut StdRng) -> Self {
        let chance = |dice: &mut StdRng, percent: u32| dice.random_range(0..100) < percent;
        let rates: [&[&str]; 5] = [&[], &[], &["10/s"], &["4/s", "40/m"], &["25/m"]];
        let relay = rates[dice.random_range(0..rates.len())];
        let domains = if chance(dice, 25) { vec![(DOMAINS[0].to_owned(), "2/s")] } else { Vec::new() };
        let seconds = |dice: &mut StdRng, from: u64, to: u64| {
            Duration::from_millis(dice.random_range(from * 1_000..to * 1_000))
        };
        Self {
            recipients: dice.random_range(4..26),
            workers: dice.random_range(1..4),
            connections: dice.random_range(1..4),
            messages_per_connection: if chance(dice, 20) { Some(3) } else { None },
            chunk_size: dice.random_range(2..12),
            chunk_budget: seconds(dice, 3, 60),
            limits: Limits {
                relay: relay.iter().map(|rate| rate.parse().expect("a rate")).collect(),
                domains: domains.into_iter().map(|(d, rate)| (d, rate.parse().expect("a rate"))).collect(),
            },
            retry_unknown: chance(dice, 40),
            finish_after: chance(dice, 20).then(|| Duration::from_millis(dice.random_range(60..4_000))),
            stop: chance(dice, 30).then(|| {
                let at = Duration::from_millis(dice.random_range(50..4_000));
                (at, chance(dice, 70).then(|| Duration::from_millis(dice.random_range(100..8_000))))
            }),
            tampered: chance(dice, 5),
            manners: Manners { pipelining: chance(dice, 60), strict: chance(dice, 30) },
            odds: Odds {
                crash: if chance(dice, 50) { 8 } else { 0 },
                pause: if chance(dice, 25) { 12 } else { 0 },
                commit: if chance(dice, 40) { 30 } else { 0 },
                relay: if chance(dice, 70) { 60 } else { 0 },
            },
            turns_at_once: if chance(dice, 25) { 2 } else { 1 },
        }
    }

    fn settings(&self, process: u32) -> Settings {
        Settings {
            relays: vec!["smtp://relay.invalid:25".parse().expect("a relay")],
            connections: self.connections,
            messages_per_connection: self.messages_per_connection,
            limits: self.limits.clone(),
            manners: Default::default(),
            step_timeout: STEP_TIMEOUT,
            dot_timeout: DOT_TIMEOUT,
            chunk_size: self.chunk_size,
            chunk_budget: self.chunk_budget,
            retry_first: RETRY_FIRST,
            retry_for: Duration::from_secs(24 * 3_600),
            unknown: if self.retry_unknown { UnknownPolicy::Retry } else { UnknownPolicy::Hold },
            from: "訓練本部 <drill@example.jp>".into(),
            public_url: "https://drill.example.jp".into(),
            operators: Vec::new(),
            dkim: None,
            worker_name: format!("process {process}"),
        }
    }
}

/// What is left of a run: the plan, the relay's record, and the ledger.
pub(crate) struct Evidence {
    pub(crate) plan: Plan,
    pub(crate) record: Record,
    pub(crate) ledger: Vec<ModelRow>,
    pub(crate) state: BroadcastState,
    pub(crate) most_submitting: usize,
    /// Processes that died, and that were given up for dead at most.
    pub(crate) deaths: u32,
    pub(crate) hangs: u32,
    pub(crate) stopped: Option<(Instant, Option<Instant>)>,
    pub(crate) finish_by: Option<Instant>,
    pub(crate) trace: Vec<String>,
}

/// Runs a seed from beginning to end, in simulated time.
pub(crate) fn run(seed: u64, planted: Option<Planted>) -> Evidence {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let (sender, ledger) = match planted {
        Some(Planted::Sender(bug)) => (Some(bug), None),
        Some(Planted::Ledger(bug)) => (None, Some(bug)),
        None => (None, None),
    };
    broadcaster::plant(sender);
    let evidence = runtime.block_on(play(seed, ledger));
    broadcaster::plant(None);
    evidence
}

async fn play(seed: u64, bug: Option<LedgerBug>) -> Evidence {
    let plan = Plan::draw(&mut StdRng::seed_from_u64(seed));
    let world = World::new(seed, plan.odds);
    let books = Arc::new(Mutex::new(Books::new(bug)));
    let record = Arc::new(Mutex::new(Record::default()));
    let began = Instant::now();
    release(&plan, &books);

    let stop_all = CancellationToken::new();
    let workers: Vec<JoinHandle<u32>> = (0..plan.workers)
        .map(|n| {
            let office = Office {
                plan: plan.clone(),
                world: world.clone(),
                books: books.clone(),
                record: record.clone(),
            };
            tokio::spawn(office.keep_running(n, stop_all.clone()))
        })
        .collect();

    let stopped = a_person_stops(&plan, &world, &books).await;
    let end = async |within| {
        let over = async {
            while !is_over(&books) {
                sleep(LOOK_INTERVAL).await;
            }
        };
        let _it_hangs = timeout(within, over).await;
    };
    end(TROUBLE).await;
    world.calm_down();
    world.note(|| "calm".into());
    end(END).await;
    if world.hangs() > 0 {
        // Who wakes up late may still do harm, and the policy `retry` may open the broadcast again.
        sleep(AWAKE).await;
        end(END).await;
    }
    stop_all.cancel();
    let mut deaths = 0;
    for worker in workers {
        deaths += worker.await.expect("no part of the simulation panics");
    }
    let books = books.lock().expect("one thread");
    Evidence {
        finish_by: plan.finish_after.map(|after| began + after),
        record: std::mem::take(&mut *record.lock().expect("one thread")),
        ledger: books.export(),
        state: books.state(ID).expect("there is one broadcast"),
        most_submitting: books.most_submitting(),
        deaths,
        hangs: world.hangs(),
        stopped,
        trace: world.trace(),
        plan,
    }
}

/// From when until when, where somebody did.
async fn a_person_stops(
    plan: &Plan,
    world: &World,
    books: &Mutex<Books>,
) -> Option<(Instant, Option<Instant>)> {
    let (after, resumed) = plan.stop?;
    sleep(after).await;
    if !step(books, BroadcastEvent::Stopped) {
        return None;
    }
    world.note(|| "stopped".into());
    let at = Instant::now();
    let Some(after) = resumed else { return Some((at, None)) };
    sleep(after).await;
    step(books, BroadcastEvent::Resumed);
    world.note(|| "resumed".into());
    Some((at, Some(Instant::now())))
}

/// Nothing will be sent any more, and nothing is under way.
fn is_over(books: &Mutex<Books>) -> bool {
    let books = books.lock().expect("one thread");
    let under_way = |row: &ModelRow| row.delivery.state() == DeliveryState::Submitting;
    books.state(ID) != Some(BroadcastState::Sending) && !books.export().iter().any(under_way)
}

fn step(books: &Mutex<Books>, event: BroadcastEvent) -> bool {
    books.lock().expect("one thread").step(ID, event)
}

/// What a worker is started with, again and again.
struct Office {
    plan: Plan,
    world: Arc<World>,
    books: Arc<Mutex<Books>>,
    record: Arc<Mutex<Record>>,
}

impl Office {
    /// Starts processes, one after the other has died; how many died.
    async fn keep_running(self, worker: u32, stop: CancellationToken) -> u32 {
        let mut deaths = 0;
        loop {
            let name = worker * 100 + deaths;
            let process = Process::new(name, self.world.clone());
            let network =
                Network { process: process.clone(), record: self.record.clone(), manners: self.plan.manners };
            let ledger = Model::new(self.books.clone(), process.clone(), self.plan.turns_at_once);
            let clock = SimClock { books: self.books.clone(), ahead: self.world.millis(200) };
            let broadcaster =
                Broadcaster::new(ledger, network, self.plan.settings(name), keyring(), Arc::new(clock));
            let running = broadcaster.run(stop.child_token());
            tokio::select! {
                biased;
                () = process.died() => deaths += 1,
                ended = running => {
                    if ended.is_ok() && stop.is_cancelled() {
                        return deaths;
                    }
                    self.world.note(|| format!("process {name} could not start"));
                }
            }
            // Whoever supervises it starts it again.
            sleep(Duration::from_millis(200) + self.world.millis(3_000)).await;
        }
    }
}

/// One broadcast, frozen, signed and released.
fn release(plan: &Plan, books: &Mutex<Books>) {
    let mut books = books.lock().expect("one thread");
    let finish_by = plan.finish_after.map(|after| books.now().plus(after));
    let author = StaffId::new(1);
    let terms = Terms {
        nature: Nature::Exercise,
        text: NoticeText { subject: "訓練".into(), body: "{{name}} 様\n.\n開始します。\n".into() },
        questionnaire: None,
        from: "訓練本部 <drill@example.jp>".into(),
        organization: "訓練の会".into(),
        contact: "事務局".into(),
        public_url: "https://drill.example.jp".into(),
        sink_domain: "reply.example.jp".into(),
        audience: r#"{"named":"all"}"#.into(),
        finish_by,
        daily_cap: 3_000,
        rates: plan.limits.relay.clone(),
        connections: plan.connections,
        one_click_unsubscribe: false,
    };
    let rows: Vec<FreezeRow> = (1..=i64::from(plan.recipients)).map(row).collect();
    let mut digest = DigestBuilder::new(&terms);
    rows.iter().for_each(|row| digest.row(&row.snapshot()));
    let digest = digest.finish();
    let now = books.now();
    let broadcast = Broadcast {
        id: ID,
        nature: Nature::Exercise,
        state: BroadcastState::Sending,
        author,
        subject: terms.text.subject.clone(),
        body: terms.text.body.clone(),
        audience: terms.audience.clone(),
        questionnaire: None,
        answers_to: None,
        finish_by,
        terms: serde_json::to_string(&terms).expect("terms are JSON"),
        digest: Some(digest),
        recipients: rows.len() as u64,
        held: 0,
        findings: "[1]".into(),
        signatures_required: 1,
        created_at: now,
        frozen_at: Some(now),
        released_at: None,
        stopped_at: None,
        completed_at: None,
        change: None,
        registry_revision: None,
        canary: None,
    };
    let signature = Signature { staff: StaffId::new(2), role: Role::Approver, digest, signed_at: now };
    books.release(broadcast, rows, vec![signature]);
    if plan.tampered {
        books.tamper(|row| {
            if row.member == MemberId::new(1) {
                row.address = Some("stranger@example.org".parse().expect("an address"));
            }
        });
    }
}

fn row(n: i64) -> FreezeRow {
    let from: EmailAddress = "drill@example.jp".parse().expect("an address");
    let domain = DOMAINS[usize::try_from(n).expect("small") % DOMAINS.len()];
    FreezeRow {
        member: MemberId::new(n),
        member_no: format!("{n:05}"),
        address: Some(format!("m{n}@{domain}").parse().expect("an address")),
        prefecture: None,
        fields: format!(r#"{{"name":"会員{n}"}}"#),
        message_id: message_id(ID, MemberId::new(n), &from).to_string(),
        held: None,
    }
}

fn keyring() -> Keyring {
    Keyring::new(TokenKey::new(1, [9; 32]), Vec::new())
}
