//! The stage: folder, capture relay, installation, people, roster, exercise, simulated members.

use super::mailbox::CapturedMailbox;
use crate::{
    cli::DemoArgs,
    commands::{
        import::{applied, planned, show_report},
        init::write_private,
        user::{Account, add_account, find, make_token},
    },
    config::Config,
    entropy::{self, SystemClock},
    installation::Installation,
    service::{Service, cancel_on_signal},
};
use anyhow::{Context, Result, ensure};
use domain::{Actor, ExerciseId, Role, write_key_file};
use registry::ImportMode;
use rehearsal::{
    crowd::{AnswerSheet, Crowd, CrowdPlan},
    relay::{CaptureRelay, Cut, Script, Stage as RelayStage, Verdict},
    roster::{RosterPlan, write_roster},
};
use scheduler::parse_plan;
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use store::MemberQuery;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const DRILL: &str = include_str!("drill.toml");
/// Marks a folder as ours to throw away.
const MARKER: &str = "this-is-a-hansho-demo";
const SEED: u64 = 17;
/// One mailbox in so many asks for a second try, one in so many is refused.
const DEFERRED_EVERY: u64 = 90;
const REFUSED_EVERY: u64 = 210;

/// Who plays.
const CAST: [(&str, &str, Role); 5] = [
    ("coordinator@drill.example.jp", "訓練担当 佐藤", Role::Coordinator),
    ("approver1@drill.example.jp", "承認者 鈴木", Role::Approver),
    ("approver2@drill.example.jp", "承認者 高橋", Role::Approver),
    ("engineer@drill.example.jp", "システム管理 田中", Role::Engineer),
    ("viewer@drill.example.jp", "評価者 伊藤", Role::Viewer),
];

/// A member of staff of the demonstration.
pub(super) struct Player {
    pub(super) account: Account,
    pub(super) token: String,
}

/// Everything the drill needs, running.
pub(super) struct Stage {
    pub(super) installation: Installation,
    pub(super) relay: CaptureRelay,
    pub(super) crowd: Crowd,
    pub(super) exercise: ExerciseId,
    /// In the order of [`CAST`].
    pub(super) players: Vec<Player>,
    pub(super) shutdown: CancellationToken,
    pub(super) pace: Pace,
    import: String,
    web: SocketAddr,
    service: JoinHandle<Result<()>>,
    _lock: Option<fs::File>,
}

/// How fast the show goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Minutes of a simulated member's life last this many minutes.
    time_scale: f64,
    /// `relay.rates`.
    rates: &'static str,
    retry_first: &'static str,
    /// Due times of reminder and end notice, in seconds.
    remind: u32,
    end: u32,
    /// How long a person reads before deciding.
    pub(super) reading: Duration,
    /// After the last notice, the slowest simulated member has answered within this.
    pub(super) quiet_max: Duration,
}

const COMPRESSED: Pace = Pace {
    time_scale: 0.02,
    rates: "[]",
    retry_first: "2s",
    remind: 20,
    end: 34,
    reading: Duration::from_millis(300),
    quiet_max: Duration::from_secs(90),
};
const WATCHABLE: Pace = Pace {
    time_scale: 0.12,
    rates: "[\"60/s\"]",
    retry_first: "5s",
    remind: 120,
    end: 210,
    reading: Duration::from_secs(4),
    quiet_max: Duration::from_secs(240),
};

impl Stage {
    pub(super) async fn build(args: &DemoArgs) -> Result<Self> {
        let pace = if args.auto { COMPRESSED } else { WATCHABLE };
        fresh_folder(&args.dir)?;
        let clock = Arc::new(SystemClock);
        let relay = CaptureRelay::start(local(0), Script::accept_all(), clock.clone()).await?;
        let web = listen_address(args)?;
        let sink = free_port()?;
        write_installation(&args.dir, &relay.url(), web, sink, pace)?;
        let installation =
            Installation::open_any_schema(Config::load(&args.dir.join("hansho.toml"))?).await?;
        let lock = installation.lock()?;
        installation.migrate().await?;
        let players = hire(&installation).await?;
        let import = import_roster(&installation, &args.dir, args.members).await?;
        relay.set_script(script(&installation).await?);
        let exercise = plan_exercise(&installation, pace).await?;

        let shutdown = CancellationToken::new();
        cancel_on_signal(shutdown.clone())?;
        let mailbox = Arc::new(CapturedMailbox::new(relay.record()));
        let service = Service::start(&installation, &[], Some(mailbox), shutdown.clone()).await?;
        let plan = CrowdPlan {
            time_scale: pace.time_scale,
            audience: args.members as usize,
            ..CrowdPlan::new(SEED, sink, answer_sheet())
        };
        let crowd = Crowd::start(relay.record(), plan, clock)?;
        let service = tokio::spawn(service.wait());
        Ok(Self {
            installation,
            relay,
            crowd,
            exercise,
            players,
            shutdown,
            pace,
            import,
            web,
            service,
            _lock: lock,
        })
    }

    /// Where the dashboard is.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.web)
    }

    /// Says what was set up and how to sign in.
    pub(super) fn introduce(&self) {
        println!("半鐘 hansho — demonstration\n");
        println!("roster import\n{}", self.import);
        println!("dashboard  {}", self.url());
        for player in &self.players {
            let Account { email, role, password } = &player.account;
            println!("  {role:<12} {email:<30} {password}");
        }
        println!();
    }

    /// Waits until every stored reply was looked at.
    pub(super) async fn wait_for_triage(&self) -> Result<()> {
        use domain::ReplyClass as C;
        let bounced = |counts: &[(C, u64)]| -> u64 {
            counts
                .iter()
                .filter(|(class, _)| matches!(class, C::BounceHard | C::BounceSoft))
                .map(|(_, n)| n)
                .sum()
        };
        for _ in 0..100 {
            let stored = bounced(&self.installation.replybox.counts().await?);
            let mut noted = 0;
            for broadcast in self.installation.store.broadcasts(i64::MAX).await? {
                noted += self.installation.store.bounces(broadcast.id).await?.len() as u64;
            }
            if noted == stored {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Drains everything.
    pub(super) async fn close(self) -> Result<()> {
        self.crowd.stop().await;
        self.shutdown.cancel();
        self.service.await.context("the service panicked")??;
        self.relay.stop().await;
        Ok(())
    }
}

fn fresh_folder(dir: &Path) -> Result<()> {
    if dir.exists() {
        let empty = fs::read_dir(dir)?.next().is_none();
        ensure!(
            empty || dir.join(MARKER).exists(),
            "{} exists and is no demonstration folder; name another one with --dir",
            dir.display()
        );
        fs::remove_dir_all(dir)
            .with_context(|| format!("the old folder {} cannot be removed", dir.display()))?;
    }
    fs::create_dir_all(dir).with_context(|| format!("the folder {} cannot be made", dir.display()))?;
    Ok(fs::write(dir.join(MARKER), "")?)
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Port 0 has to become a number before links are written.
fn listen_address(args: &DemoArgs) -> Result<SocketAddr> {
    match args.listen {
        Some(listen) if listen.port() == 0 => Ok(SocketAddr::new(listen.ip(), free_port()?.port())),
        Some(listen) => Ok(listen),
        None if args.auto => free_port(),
        None => Ok(local(8080)),
    }
}

fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind(local(0))?.local_addr()?)
}

fn write_installation(dir: &Path, relay: &str, web: SocketAddr, sink: SocketAddr, pace: Pace) -> Result<()> {
    write_private(&dir.join("hansho.key"), &write_key_file(1, &entropy::secret()))?;
    let Pace { rates, retry_first, .. } = pace;
    let config = format!(
        r#"[site]
organization = "全国災害看護の会（架空）"
contact = "office@drill.example.jp"
public_url = "http://{web}"
environment = "rehearsal"
key_file = "hansho.key"

[database]
url = "sqlite://hansho.db"

[web]
listen = "{web}"

[relay]
url = "{relay}"
rates = {rates}

[broadcast]
from = "訓練本部 <drill@drill.example.jp>"
retry_first = "{retry_first}"

[sink]
listen = "{sink}"
domain = "reply.drill.example.jp"
"#
    );
    write_private(&dir.join("hansho.toml"), &config)
}

async fn hire(installation: &Installation) -> Result<Vec<Player>> {
    let mut players = Vec::with_capacity(CAST.len());
    for (email, name, role) in CAST {
        let account = add_account(installation, Actor::LocalEngineer, email, Some(name), role).await?;
        let staff = find(installation, email).await?;
        let token = make_token(installation, Actor::LocalEngineer, &staff).await?;
        players.push(Player { account, token });
    }
    Ok(players)
}

async fn import_roster(installation: &Installation, dir: &Path, members: u32) -> Result<String> {
    let file: PathBuf = dir.join("roster-shift_jis.csv");
    let fiscal_year = installation.config.calendar().year_at(installation.clock.now());
    let wanted = RosterPlan { members: members as usize, fiscal_year, seed: SEED };
    let expected = write_roster(&file, &wanted)?;
    let actor = Actor::LocalEngineer;
    let plan = planned(installation, actor, &file, None, ImportMode::Merge).await?;
    let done = applied(installation, actor, plan.plan).await?;
    let year = done.fiscal_year;
    let everyone = registry::show_audience(&installation.store, "all", year).await?.count;
    ensure!(
        plan.added == done.added && everyone == expected.mailable as u64,
        "the registry holds {everyone} mailable members, the roster has {}",
        expected.mailable
    );
    Ok(format!("{}audience \"all\": {everyone} active members of fiscal year {year}\n", show_report(&done)))
}

/// The relay's moods: some mailboxes defer once, some are refused, one connection is cut after
/// the final dot.
async fn script(installation: &Installation) -> Result<Script> {
    // Not the first ones: those are the two historical carrier addresses.
    let query = MemberQuery { text: "", status: None, fiscal_year: None, offset: 20, limit: 50 };
    let members = installation.store.search_members(&query).await?.members;
    let unlucky = members
        .iter()
        .filter_map(|member| member.data.address.as_ref())
        .map(domain::EmailAddress::to_wire)
        .find(|address| mood(address).is_none())
        .context("no member has an address")?;
    Ok(Script::accept_all()
        .recipient(&unlucky, Verdict::CutAfterDot(Cut::FirstTry))
        .decide_by(Arc::new(mood)))
}

fn mood(address: &str) -> Option<Verdict> {
    if address.ends_with("@drill.example.jp") {
        return None;
    }
    let hash = fnv(address);
    if hash.is_multiple_of(REFUSED_EVERY) {
        Some(Verdict::Refuse { at: RelayStage::Rcpt })
    } else if hash.is_multiple_of(DEFERRED_EVERY) {
        Some(Verdict::Defer { tries: 1, at: RelayStage::AfterDot })
    } else {
        None
    }
}

fn fnv(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

async fn plan_exercise(installation: &Installation, pace: Pace) -> Result<ExerciseId> {
    let text = DRILL
        .replace("at = \"120s\"", &format!("at = \"{}s\"", pace.remind))
        .replace("at = \"240s\"", &format!("at = \"{}s\"", pace.end));
    let coordinator = find(installation, CAST[0].0).await?;
    let plan = parse_plan(&text, coordinator.id, "demo".to_owned())?;
    let actor = Actor::Staff { id: coordinator.id, role: coordinator.role };
    Ok(installation.desk.plan_exercise(actor, &plan).await?)
}

/// What simulated members answer, by the fields the page asks for.
fn answer_sheet() -> AnswerSheet {
    Arc::new(|member, page| {
        let pick = |choices: &[(&str, u64)]| -> String {
            let total: u64 = choices.iter().map(|(_, weight)| weight).sum();
            let mut at = (member >> 7) % total;
            for (value, weight) in choices {
                if at < *weight {
                    return (*value).to_owned();
                }
                at -= weight;
            }
            String::new()
        };
        let asked = |key: &str| page.contains(&format!("name=\"{key}\""));
        let mut fields = Vec::new();
        if asked("safety") {
            fields.push(("safety".to_owned(), pick(&[("safe", 94), ("minor", 5), ("serious", 1)])));
            fields.push(("site".to_owned(), pick(&[("normal", 70), ("limited", 24), ("closed", 6)])));
            fields.push(("theatre".to_owned(), pick(&[("open", 62), ("partial", 28), ("stopped", 10)])));
        } else if asked("useful") {
            fields.push(("useful".to_owned(), pick(&[("yes", 72), ("partly", 23), ("no", 5)])));
        }
        fields
    })
}
