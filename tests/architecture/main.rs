//! The map of the house, held against the manifests: who may depend on whom (ARCHITECTURE.md),
//! and what the receiving side can never reach (laws 2 and 5 begin here).

use cargo_metadata::{Dependency, DependencyKind, Metadata, MetadataCommand, PackageId, TargetKind};
use std::collections::{BTreeMap, BTreeSet};

/// Allowed arrows: crate → crates of this workspace it may depend on. A new one needs its ADR.
const ARROWS: [(&str, &[&str]); 19] = [
    ("domain", &[]),
    ("migrations", &[]),
    ("xtask", &[]),
    ("store", &["domain"]),
    ("replybox", &["domain"]),
    ("notice", &["domain"]),
    ("pickup", &["domain"]),
    ("rehearsal", &["domain"]),
    ("registry", &["domain", "store"]),
    ("scheduler", &["domain", "registry", "notice", "store"]),
    ("broadcaster", &["domain", "notice", "store"]),
    ("sink", &["domain", "replybox"]),
    ("triage", &["domain", "replybox", "store"]),
    ("report", &["domain", "replybox", "store"]),
    ("web", &["domain", "notice", "registry", "replybox", "report", "scheduler", "store"]),
    (
        "hansho",
        &[
            "broadcaster",
            "domain",
            "migrations",
            "notice",
            "pickup",
            "registry",
            "rehearsal",
            "replybox",
            "report",
            "scheduler",
            "sink",
            "store",
            "triage",
            "web",
        ],
    ),
    ("hansho-sinkd", &["domain", "replybox", "sink"]),
    ("testkit", &["domain", "migrations", "registry", "rehearsal", "store"]),
    (
        "hansho-tests",
        &["broadcaster", "domain", "migrations", "notice", "rehearsal", "replybox", "store", "testkit"],
    ),
];

/// Whatever takes mail in, or could be linked into what does.
const RECEIVING: [&str; 5] = ["domain", "hansho-sinkd", "pickup", "replybox", "sink"];
/// Whatever can put mail on a wire.
const SENDING: [&str; 3] = ["broadcaster", "governor", "lettre"];
/// Features of lettre that open connections or start programs.
const LETTRE_TRANSPORTS: [&str; 7] = [
    "default",
    "pool",
    "sendmail-transport",
    "smtp-transport",
    "tokio1",
    "tokio1-rustls",
    "tokio1-native-tls",
];

#[test]
fn crates_depend_only_along_the_allowed_arrows() {
    let house = House::read();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let mut strays = Vec::new();
    for name in house.crates() {
        let Some(arrows) = allowed.get(name) else {
            strays.push(format!("{name} has no line in the table of arrows"));
            continue;
        };
        let to = house.own_dependencies(name).filter(|to| !arrows.contains(to));
        strays.extend(to.map(|to| format!("{name} -> {to}")));
    }
    assert!(strays.is_empty(), "arrows that nobody allowed: {strays:#?}");
}

#[test]
fn the_table_of_arrows_names_only_crates_that_exist() {
    let house = House::read();
    let named = ARROWS.iter().flat_map(|(from, to)| std::iter::once(from).chain(to.iter()));
    let unknown: BTreeSet<&&str> = named.filter(|name| !house.crates().any(|own| own == **name)).collect();
    assert!(unknown.is_empty(), "no such crates: {unknown:?}");
}

#[test]
fn nothing_depends_on_an_executable_not_even_a_test() {
    let house = House::read();
    let executables: BTreeSet<&str> = house.executables();
    assert!(executables.contains("hansho") && executables.contains("hansho-sinkd"));
    for name in house.crates() {
        let to: Vec<&str> = house
            .manifest(name)
            .iter()
            .map(|dependency| dependency.name.as_str())
            .filter(|to| executables.contains(to))
            .collect();
        assert!(to.is_empty(), "{name} -> {to:?}");
    }
}

#[test]
fn what_receives_reaches_nothing_that_sends() {
    let house = House::read();
    for name in RECEIVING {
        let reached = house.reached_from(name);
        let sending: Vec<&&str> = SENDING.iter().filter(|sender| reached.contains(**sender)).collect();
        assert!(sending.is_empty(), "{name} reaches {sending:?}");
    }
    // The walk itself works: it finds what is there.
    let reached = house.reached_from("broadcaster");
    assert!(["lettre", "governor", "store"].iter().all(|name| reached.contains(*name)));
}

#[test]
fn only_the_broadcaster_has_lettres_transport_and_the_pacer() {
    let house = House::read();
    let (mut transports, mut pacers) = (BTreeSet::new(), BTreeSet::new());
    for name in house.crates() {
        for dependency in house.manifest(name) {
            let opens = |feature: &str| LETTRE_TRANSPORTS.contains(&feature);
            let may_connect =
                dependency.uses_default_features || dependency.features.iter().any(|f| opens(f));
            match dependency.name.as_str() {
                "lettre" if may_connect => _ = transports.insert(name),
                "governor" => _ = pacers.insert(name),
                _ => {}
            }
        }
    }
    let broadcaster = BTreeSet::from(["broadcaster"]);
    assert_eq!(transports, broadcaster, "who can open an SMTP session");
    assert_eq!(pacers, broadcaster, "who paces");
}

/// Bugs and models are for the simulation: no executable can have them.
#[test]
fn only_the_tests_plant_bugs_and_keep_a_model_of_the_ledger() {
    let house = House::read();
    let simulated =
        |dependency: &Dependency| dependency.features.iter().any(|f| f == "planted" || f == "model");
    let who: BTreeSet<&str> =
        house.crates().filter(|name| house.manifest(name).iter().any(simulated)).collect();
    assert_eq!(who, BTreeSet::from(["hansho-tests"]));
}

#[test]
fn the_domain_knows_no_runtime_no_database_no_wire() {
    let house = House::read();
    let reached = house.reached_from("domain");
    for name in ["hyper", "lettre", "rand", "sea-orm", "sqlx", "tokio", "warp"] {
        assert!(!reached.contains(name), "domain reaches {name}");
    }
}

#[test]
fn there_is_one_tls_stack_and_no_c_library_for_it() {
    let house = House::read();
    let all: BTreeSet<&str> = house.crates().flat_map(|name| house.reached_from(name)).collect();
    assert!(all.contains("rustls"));
    for name in ["aws-lc-rs", "aws-lc-sys", "native-tls", "openssl", "openssl-sys"] {
        assert!(!all.contains(name), "{name} is in the graph");
    }
}

/// The workspace as cargo resolves it for this platform.
struct House {
    metadata: Metadata,
}

impl House {
    fn read() -> Self {
        let metadata = MetadataCommand::new()
            .other_options(["--offline".to_owned(), "--filter-platform".to_owned(), platform()])
            .exec()
            .expect("cargo reads the workspace");
        Self { metadata }
    }

    fn crates(&self) -> impl Iterator<Item = &str> {
        self.metadata.workspace_packages().into_iter().map(|package| package.name.as_str())
    }

    fn executables(&self) -> BTreeSet<&str> {
        let packages = self.metadata.workspace_packages().into_iter();
        packages
            .filter(|package| package.targets.iter().any(|target| target.kind.contains(&TargetKind::Bin)))
            .map(|package| package.name.as_str())
            .collect()
    }

    fn manifest(&self, name: &str) -> &[Dependency] {
        let packages = self.metadata.workspace_packages();
        let package = packages.into_iter().find(|package| package.name.as_str() == name);
        &package.expect("a crate of this workspace").dependencies
    }

    /// Normal and build dependencies within the workspace.
    fn own_dependencies(&self, name: &str) -> impl Iterator<Item = &str> {
        self.manifest(name)
            .iter()
            .filter(|dependency| dependency.path.is_some() && dependency.kind != DependencyKind::Development)
            .map(|dependency| dependency.name.as_str())
    }

    /// Names of all packages that get built for `name`, tests apart.
    fn reached_from(&self, name: &str) -> BTreeSet<&str> {
        let resolve = self.metadata.resolve.as_ref().expect("cargo resolved the workspace");
        let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
        let packages = self.metadata.workspace_packages();
        let start = packages.into_iter().find(|package| package.name.as_str() == name);
        let mut open = vec![&start.expect("a crate of this workspace").id];
        let mut reached = BTreeSet::new();
        while let Some(id) = open.pop() {
            let for_building = nodes[id].deps.iter().filter(|dependency| {
                dependency.dep_kinds.iter().any(|info| info.kind != DependencyKind::Development)
            });
            open.extend(for_building.map(|dependency| &dependency.pkg).filter(|id| reached.insert(*id)));
        }
        reached.into_iter().map(|id| self.metadata[id].name.as_str()).collect()
    }
}

/// The target triple that `rustc` builds for here.
#[expect(clippy::disallowed_methods, reason = "the compiler alone knows its target")]
fn platform() -> String {
    let output = std::process::Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let text = String::from_utf8(output.stdout).expect("rustc speaks UTF-8");
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("rustc names its host").to_owned()
}
