//! The command line: names and help. A contract: scripts rely on it.

use clap::{Args, Parser, Subcommand, ValueEnum};
use domain::{BroadcastId, ExerciseId, Nature, QuestionnaireId, ReplyClass, ReplyId, Role};
use std::{net::SocketAddr, path::PathBuf};

/// 半鐘: a drill platform with safe one-way broadcast.
#[derive(Debug, Parser)]
#[command(name = "hansho", version, propagate_version = true)]
pub(crate) struct Cli {
    /// The configuration file.
    #[arg(long, global = true, env = "HANSHO_CONFIG", default_value = "./hansho.toml")]
    pub(crate) config: PathBuf,
    /// One JSON document on stdout.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole drill on an embedded database with a capture relay and simulated members.
    Demo(DemoArgs),
    /// Make an installation: configuration, keys, database, first account.
    Init(InitArgs),
    /// The service.
    Serve {
        /// Only these parts; all that are configured by default.
        #[arg(long, value_enum)]
        role: Vec<ServeRole>,
    },
    /// The database's schema.
    #[command(subcommand)]
    Migrate(MigrateCommand),
    /// People who sign in.
    #[command(subcommand)]
    User(UserCommand),
    /// The registry.
    #[command(subcommand)]
    Member(MemberCommand),
    /// Saved audiences.
    #[command(subcommand)]
    Audience(AudienceCommand),
    /// Notices and their delivery.
    #[command(subcommand)]
    Broadcast(BroadcastCommand),
    /// Exercises.
    #[command(subcommand)]
    Drill(DrillCommand),
    /// What came back.
    #[command(subcommand)]
    Reply(ReplyCommand),
    /// The audit log.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// The ledger as a whole.
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// The databases as files.
    #[command(subcommand)]
    Db(DbCommand),
    /// Look for whatever would stand in the way of a broadcast; each finding with its remedy.
    Doctor {
        /// Ask this name server instead of the system's, e.g. 192.0.2.53:53.
        #[arg(long)]
        dns: Option<SocketAddr>,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArgs {
    /// Members of the fictitious society.
    #[arg(long, default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(100..=200_000))]
    pub(crate) members: u32,
    /// Run to the end in compressed time, print the summary, exit 0 only if every law held.
    #[arg(long)]
    pub(crate) auto: bool,
    /// Working folder; a fresh one is made.
    #[arg(long, default_value = "hansho-demo")]
    pub(crate) dir: PathBuf,
    /// Where the dashboard listens; port 0 takes a free one.
    #[arg(long)]
    pub(crate) listen: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Where to.
    #[arg(long, default_value = ".")]
    pub(crate) dir: PathBuf,
    /// The society's name.
    #[arg(long)]
    pub(crate) organization: String,
    /// Address of the engineer's first account.
    #[arg(long)]
    pub(crate) admin: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ServeRole {
    /// Dashboard, members' pages, JSON interface.
    Web,
    /// Timelines and triage.
    Scheduler,
    /// Sending.
    Broadcaster,
    /// Receiving replies.
    Sink,
    /// Fetching replies from a rented mailbox, where `pickup.url` names one.
    Pickup,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MigrateCommand {
    /// Bring both databases to this program's schema.
    Up,
    /// Say what is pending.
    Status,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add an account and print its one-time password.
    Add {
        email: String,
        #[arg(long)]
        role: Role,
        #[arg(long)]
        name: Option<String>,
    },
    /// Make a personal token for HANSHO_TOKEN and the JSON interface.
    Token { email: String },
    /// All accounts.
    List,
    /// Take an account out of use.
    Disable { email: String },
    /// A new one-time password.
    Reset { email: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// Plan an import; with --apply, do it.
    Import(ImportArgs),
    /// Search by number, name, kana or facility.
    List {
        #[arg(default_value = "")]
        search: String,
    },
    /// One member with history.
    Show { member_no: String },
    /// Send nothing more to a member; with --lift, send again, or first withdraw an erasure that waits.
    Suppress {
        member_no: String,
        #[arg(long)]
        lift: bool,
    },
    /// Everything there is about one member, as one JSON document.
    Export {
        member_no: String,
        /// A new file, instead of stdout.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Say what erasing a member would take away; with --yes, erase them for good.
    Erase {
        member_no: String,
        #[arg(long)]
        yes: bool,
    },
    /// Let a roster bring somebody again who was erased.
    Readmit {
        member_no: String,
        /// Their mailbox too, which is recognised by itself.
        #[arg(long)]
        address: Option<String>,
    },
    /// The test roster: the only people a test notice can reach.
    #[command(subcommand)]
    Test(TestRosterCommand),
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// CSV (UTF-8, Shift_JIS, UTF-16) or .xlsx.
    #[arg(required_unless_present = "plan")]
    pub(crate) file: Option<PathBuf>,
    /// For rows without a year; the present fiscal year by default.
    #[arg(long)]
    pub(crate) fiscal_year: Option<i32>,
    #[arg(long, value_enum, default_value_t = ImportModeArg::Merge)]
    pub(crate) mode: ImportModeArg,
    /// What a heading means here, e.g. 連絡先=address, 備考=ignore or 更新期限=date; remembered.
    #[arg(long = "column", value_name = "HEADING=MEANING")]
    pub(crate) columns: Vec<String>,
    /// A plan made before, instead of a file.
    #[arg(long, conflicts_with_all = ["file", "fiscal_year", "columns"])]
    pub(crate) plan: Option<i64>,
    /// As the second person, confirm a plan that changes much.
    #[arg(long, requires = "plan")]
    pub(crate) confirm: bool,
    /// Write it to the registry.
    #[arg(long)]
    pub(crate) apply: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImportModeArg {
    /// Add and update.
    Merge,
    /// The file is the whole roster of the year: who is missing has left.
    Full,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TestRosterCommand {
    Add { member_no: String },
    Remove { member_no: String },
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AudienceCommand {
    /// Save a filter; active members of the current fiscal year are always implied.
    Create {
        name: String,
        /// KEY=VALUE: prefecture, facility, role or another column of the roster, or
        /// non-respondents-of and reached-by with a broadcast's number.
        ///
        /// `KEY=A|B` takes either value, `KEY!=A` everybody else, and ` or ` stands between
        /// comparisons of which one has to fit: `prefecture=宮城県|岩手県 or facility=中央病院`.
        /// Several plain ones (KEY=VALUE) of one key are alternatives; all others have to fit
        /// together. A value that contains `|` or ` or ` stands in quotation marks, in which `""` is one
        /// of its own; a comma is part of its value.
        #[arg(long = "where", value_name = "CONDITION")]
        conditions: Vec<String>,
    },
    List,
    /// Its conditions and how many members they find now.
    Show {
        name: String,
    },
    /// Give it another name, where nothing was sent to it and nothing is to be drawn from it.
    Rename {
        name: String,
        new_name: String,
    },
    /// Delete it, once nothing is to be drawn from it, and print its conditions a last time.
    Delete {
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum BroadcastCommand {
    /// Write a draft.
    Create(NewNoticeArgs),
    /// All broadcasts, newest first.
    List,
    /// Check and freeze.
    Preflight { id: BroadcastId },
    /// Sign.
    Approve {
        id: BroadcastId,
        /// The word that an actual notice wants; the rule of a finding that has to be confirmed.
        #[arg(long)]
        confirm: Vec<String>,
    },
    /// Send back to the author.
    Return {
        id: BroadcastId,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// End before release.
    Reject {
        id: BroadcastId,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Release what is approved.
    Send {
        id: BroadcastId,
        /// Wait until it is over.
        #[arg(long)]
        wait: bool,
    },
    /// Stop now.
    Stop {
        #[arg(required_unless_present = "all")]
        id: Option<BroadcastId>,
        /// Everything that is being sent, and all running exercises.
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
    /// Let the rest follow a canary batch that looks well.
    Continue { id: BroadcastId },
    /// Go on after a stop.
    Resume {
        id: BroadcastId,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// End for good.
    Cancel {
        id: BroadcastId,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Counts that add up.
    Status { id: BroadcastId },
    /// One row per recipient.
    Ledger {
        id: BroadcastId,
        #[arg(long, value_enum, default_value_t = TableFormat::Csv)]
        format: TableFormat,
    },
    /// Who is held and why, for mending the roster.
    Held {
        id: BroadcastId,
        #[arg(long, value_enum, default_value_t = TableFormat::Csv)]
        format: TableFormat,
    },
    /// Everything that was tried for one recipient.
    Attempts {
        id: BroadcastId,
        #[arg(long = "member")]
        member_no: String,
    },
    /// Settle unknown rows.
    Settle {
        id: BroadcastId,
        #[arg(long = "as", value_enum)]
        settlement: SettlementArg,
        #[arg(long = "member")]
        members: Vec<String>,
    },
    /// Draft a correction to exactly those reached or unknown.
    Correct {
        id: BroadcastId,
        #[arg(long)]
        subject: String,
        #[arg(long)]
        body_file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct NewNoticeArgs {
    /// exercise, actual or test; never changes.
    #[arg(long)]
    pub(crate) nature: Nature,
    /// Without the banner.
    #[arg(long)]
    pub(crate) subject: String,
    /// UTF-8 text with {{fields}}.
    #[arg(long)]
    pub(crate) body_file: PathBuf,
    /// A saved audience.
    #[arg(long)]
    pub(crate) audience: String,
    #[arg(long)]
    pub(crate) questionnaire: Option<QuestionnaireId>,
    /// RFC 3339.
    #[arg(long)]
    pub(crate) finish_by: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    Csv,
    Jsonl,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SettlementArg {
    Accepted,
    Resend,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DrillCommand {
    /// Read an exercise with its injects from a file.
    Create {
        file: PathBuf,
    },
    List,
    Show {
        id: ExerciseId,
    },
    /// STARTEX.
    Start {
        id: ExerciseId,
    },
    /// No inject follows.
    Stop {
        id: ExerciseId,
    },
    /// End a planned or stopped exercise for good; what did not leave never does.
    End {
        id: ExerciseId,
    },
    /// The after-action summary.
    Report {
        id: ExerciseId,
        #[arg(long, value_enum, default_value_t = ReportFormat::Markdown)]
        format: ReportFormat,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    Markdown,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReplyCommand {
    /// The newest first.
    List {
        #[arg(long)]
        class: Option<ReplyClass>,
        #[arg(long, default_value_t = 100)]
        limit: u64,
    },
    Show {
        id: ReplyId,
    },
    /// All of them, the oldest first, with whom they came for and their text.
    Export {
        #[arg(long)]
        class: Option<ReplyClass>,
        #[arg(long)]
        broadcast: Option<BroadcastId>,
        #[arg(long, value_enum, default_value_t = TableFormat::Csv)]
        format: TableFormat,
    },
    /// Classify raw mail files; needs no configuration.
    Classify {
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Walk the hash chain.
    Verify,
    /// All entries as JSON lines.
    Export,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Every broadcast's rows add up to its snapshot and match what was signed.
    Verify,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DbCommand {
    /// Copy both SQLite databases while the service runs; FILE and FILE.replies must not exist.
    Backup { file: PathBuf },
}
