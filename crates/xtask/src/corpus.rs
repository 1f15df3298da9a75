//! `cargo xtask corpus`: how well replies are understood, scored against real mails with labels, and
//! whether the oddest ones are stored as they came.
//! They are not part of the project; where they are is said by `HANSHO_CORPUS`.

mod robustness;

use crate::{children::Children, root, tools};
use anyhow::{Context, Result, bail};
use cargo_metadata::MetadataCommand;
use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    process::{Command, ExitCode},
};

const VARIABLE: &str = "HANSHO_CORPUS";
const DEFAULT: &str = "../shared/corpora";

/// One mail and what it is.
struct Labelled {
    path: String,
    label: String,
    /// Whatever else counts as right.
    accept: Vec<String>,
    /// Its author says for certain whether a bounce is hard or soft.
    firm: bool,
}

/// Classifies every labelled mail and prints the score; then stores every broken one.
pub(crate) async fn run() -> Result<ExitCode> {
    let corpus = std::env::var_os(VARIABLE).map_or_else(|| root().join(DEFAULT), PathBuf::from);
    let folder = corpus.join("replies");
    let labels = folder.join("labels.csv");
    if !labels.is_file() {
        bail!("there is no {}: set {VARIABLE} to the folder with the mails", labels.display());
    }
    let mut children = Children::new()?;
    tools::ensure_bench(&mut children).await?;
    let mut build = tokio::process::Command::new("cargo");
    let packages = ["--package", "hansho", "--package", "hansho-sinkd"];
    build.args(["build", "--locked"]).args(packages).current_dir(root());
    if !children.run(&mut build).await?.success() {
        bail!("the build failed");
    }
    let target = MetadataCommand::new().current_dir(root()).no_deps().exec()?.target_directory;
    let [hansho, sinkd] =
        ["hansho", "hansho-sinkd"].map(|name| target.join("debug").join(name).into_std_path_buf());
    let labelled = read_labels(&labels)?;
    let output = Command::new(&hansho)
        .args(["reply", "classify"])
        .args(labelled.iter().map(|mail| &mail.path))
        .current_dir(&folder)
        .output()
        .context("cannot run hansho")?;
    if !output.status.success() {
        bail!("hansho reply classify failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut said = HashMap::new();
    for row in csv::Reader::from_reader(output.stdout.as_slice()).records() {
        let row = row?;
        said.insert(row[0].to_owned(), row[1].to_owned());
    }
    print!("{}", score(&labelled, &said));
    robustness::run(&corpus.join("robustness/eml"), &hansho, &sinkd)?;
    Ok(ExitCode::SUCCESS)
}

fn read_labels(path: &std::path::Path) -> Result<Vec<Labelled>> {
    let mut reader = csv::Reader::from_path(path)?;
    let heads = reader.headers()?.clone();
    let column = |name: &str| {
        heads.iter().position(|head| head == name).with_context(|| format!("labels.csv has no column {name}"))
    };
    let (path, label, accept, firm) =
        (column("path")?, column("label")?, column("accept")?, column("hs_firm")?);
    let mut labelled = Vec::new();
    for row in reader.records() {
        let row = row?;
        labelled.push(Labelled {
            path: row[path].to_owned(),
            label: row[label].to_owned(),
            accept: row[accept].split('|').map(str::to_owned).collect(),
            firm: &row[firm] == "y",
        });
    }
    Ok(labelled)
}

/// Right answers by label, and the two mistakes that hurt: a person hidden as a machine, and a bad
/// address taken for a full mailbox or the other way round.
fn score(labelled: &[Labelled], said: &HashMap<String, String>) -> String {
    let mut by_label: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    let (mut right, mut hidden, mut firm, mut firm_right) = (0, 0, 0, 0);
    let mut wrong = String::new();
    for mail in labelled {
        let answer = said.get(&mail.path).map_or("(nothing)", String::as_str);
        let is_right = mail.accept.iter().any(|label| label == answer);
        let (count, all) = by_label.entry(&mail.label).or_default();
        *all += 1;
        *count += u32::from(is_right);
        right += u32::from(is_right);
        if !is_right {
            wrong += &format!("{}: {}, not {}\n", mail.path, mail.label, answer);
        }
        let human = ["human-reply", "unsubscribe"].contains(&mail.label.as_str());
        hidden += u32::from(human && !["human-reply", "unsubscribe", "complaint"].contains(&answer));
        if mail.firm && mail.label.starts_with("bounce") {
            firm += 1;
            firm_right += u32::from(answer == mail.label);
        }
    }
    let mut text = wrong;
    for (label, (count, all)) in by_label {
        text += &format!("{label:12} {count} of {all}\n");
    }
    let percent = 100.0 * f64::from(right) / f64::from(labelled.len().max(1) as u32);
    text + &format!(
        "{right} of {} ({percent:.1} %); people hidden as machines: {hidden}; hard or soft, where certain: \
         {firm_right} of {firm}\n",
        labelled.len()
    )
}
