//! What the demonstration says at its end.

use super::{proof::Proof, stage::Stage};
use anyhow::{Context, Result};
use report::AfterAction;

pub(super) async fn print(stage: &Stage, proof: &Proof) -> Result<()> {
    let installation = &stage.installation;
    let exercise = installation.store.exercise(stage.exercise).await?.context("the exercise is gone")?;
    let report = AfterAction::draw(&installation.store, &installation.replybox, exercise).await?;
    println!("{}", report.to_markdown());
    println!("## 法則の検証 / the laws, from the relay's own record compared with the ledger\n");
    for verdict in &proof.verdicts {
        let mark = if verdict.held { "held  " } else { "BROKEN" };
        println!("{mark}  {:<30} {}", verdict.law, verdict.evidence);
    }
    println!("\ncopies of replies sent to members: {}", proof.reply_copies);
    println!("answers: {} of {} opened pages", proof.crowd.answered, proof.crowd.opened);
    Ok(())
}
