//! `hansho demo`: a whole drill on this machine. An installation like any other, in a folder of
//! its own; only the relay behind it and the members are simulated. Every decision is made over
//! the dashboard's own JSON interface, with personal tokens, under the same rules.

mod autopilot;
mod mailbox;
mod proof;
mod stage;
mod summary;

use crate::cli::DemoArgs;
use anyhow::{Result, ensure};
use autopilot::Autopilot;
use indicatif::{ProgressBar, ProgressStyle};
use proof::Proof;
use stage::Stage;
use std::{process::ExitCode, time::Duration};

pub(super) async fn run(args: DemoArgs) -> Result<ExitCode> {
    let stage = Stage::build(&args).await?;
    stage.introduce();
    let bar = progress_bar();
    let autopilot = Autopilot::new(&stage, bar.clone());
    let flown = tokio::select! {
        flown = autopilot.fly() => Some(flown?),
        () = stage.shutdown.cancelled() => None,
    };
    let Some(log) = flown else {
        bar.finish_and_clear();
        println!("stopped before the end of the drill; the folder {} stays", args.dir.display());
        stage.close().await?;
        return Ok(ExitCode::SUCCESS);
    };
    bar.set_message("waiting for the last answers");
    ensure!(stage.crowd.quiet(stage.pace.quiet_max).await, "the simulated members did not come to an end");
    stage.wait_for_triage().await?;
    bar.finish_and_clear();
    let proof = Proof::gather(&stage, &log).await?;
    summary::print(&stage, &proof).await?;
    if !args.auto {
        println!("\nThe dashboard goes on at {}. Stop with Ctrl-C.", stage.url());
        stage.shutdown.cancelled().await;
    }
    stage.close().await?;
    Ok(if proof.every_law_held() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{prefix:>14} {bar:36} {pos:>6}/{len:<6} {msg}");
    bar.set_style(style.expect("invariant: the template is well-formed"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
