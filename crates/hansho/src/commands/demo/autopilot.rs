//! The autopilot plays the staff: it calls the dashboard's JSON interface with each person's own
//! token. It tries the forbidden things too, and keeps what came of it for the proof.

use super::stage::{Player, Stage};
use anyhow::{Context, Result, ensure};
use domain::BroadcastId;
use hyper::{Method, StatusCode};
use indicatif::ProgressBar;
use rehearsal::browser::Browser;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const LOOK_INTERVAL: Duration = Duration::from_millis(100);
const COORDINATOR: usize = 0;
const APPROVERS: [usize; 2] = [1, 2];
const VIEWER: usize = 4;

/// What happened on the way, for the proof.
#[derive(Debug, Default)]
pub(super) struct FlightLog {
    /// Notices of the timeline in order.
    pub(super) broadcasts: Vec<BroadcastId>,
    /// The author's own signature: status codes.
    pub(super) own_signature: Vec<u16>,
    /// Signatures needed per notice.
    pub(super) signatures_required: Vec<u64>,
    /// Release tried with one signature of two: status codes.
    pub(super) early_release: Vec<u16>,
    /// Time from the stop's call to its answer, and the answer.
    pub(super) stop: Option<(Duration, Value)>,
    /// Dots the relay saw after the stop had answered and before the resume.
    pub(super) dots_after_stop: u64,
    /// Largest number of rows seen submitting at once.
    pub(super) submitting_peak: u64,
}

pub(super) struct Autopilot<'a> {
    stage: &'a Stage,
    browser: Browser,
    bar: ProgressBar,
}

impl<'a> Autopilot<'a> {
    pub(super) fn new(stage: &'a Stage, bar: ProgressBar) -> Self {
        Self { stage, browser: Browser::new(), bar }
    }

    /// Plays the drill to ENDEX.
    pub(super) async fn fly(&self) -> Result<FlightLog> {
        let mut log = FlightLog::default();
        let exercise = format!("exercises/{}", self.stage.exercise);
        self.must(COORDINATOR, Method::POST, &format!("{exercise}/start"), json!({})).await?;
        loop {
            let view = self.must(VIEWER, Method::GET, &exercise, Value::Null).await?;
            for inject in view["injects"].as_array().context("injects")? {
                if let Some(id) = inject["broadcast"].as_i64().map(BroadcastId::new)
                    && !log.broadcasts.contains(&id)
                {
                    self.bar.set_prefix(inject["key"].as_str().unwrap_or("").to_owned());
                    self.conduct(id, &mut log).await?;
                    log.broadcasts.push(id);
                }
            }
            if view["state"] == "ended" {
                return Ok(log);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// One notice from waiting for signatures to done.
    async fn conduct(&self, id: BroadcastId, log: &mut FlightLog) -> Result<()> {
        let path = format!("broadcasts/{id}");
        self.wait_for(&path, "awaiting_approval", log).await?;
        self.bar.set_message("waits for signatures");
        tokio::time::sleep(self.stage.pace.reading).await;
        let approve = format!("{path}/approve");
        let (own, _) = self.call(COORDINATOR, Method::POST, &approve, json!({})).await?;
        log.own_signature.push(own.as_u16());
        let first = self.must(APPROVERS[0], Method::POST, &approve, json!({})).await?;
        let required = first["required"].as_u64().context("required")?;
        log.signatures_required.push(required);
        if required > 1 {
            let (early, _) = self.call(COORDINATOR, Method::POST, &format!("{path}/send"), json!({})).await?;
            log.early_release.push(early.as_u16());
            self.bar.set_message("over the daily cap: a second approver has to sign");
            tokio::time::sleep(self.stage.pace.reading).await;
            self.must(APPROVERS[1], Method::POST, &approve, json!({})).await?;
        }
        self.bar.set_message("sending");
        if log.stop.is_none() {
            self.stop_and_resume(&path, log).await?;
        }
        self.wait_for(&path, "completed", log).await
    }

    /// The first notice is stopped on the way, to see that a stop stops.
    async fn stop_and_resume(&self, path: &str, log: &mut FlightLog) -> Result<()> {
        loop {
            let status = self.look(path, log).await?;
            if status["state"] != "sending" && status["state"] != "approved" {
                return Ok(());
            }
            if status["accepted"].as_u64() > Some(status["total"].as_u64().unwrap_or(0) / 10) {
                break;
            }
            tokio::time::sleep(LOOK_INTERVAL / 5).await;
        }
        let pressed = Instant::now();
        let answer = self.must(COORDINATOR, Method::POST, &format!("{path}/stop"), json!({})).await?;
        log.stop = Some((pressed.elapsed(), answer));
        self.bar.set_message("stopped; an approver looks at it");
        let before = self.stage.relay.count();
        tokio::time::sleep(self.stage.pace.reading.max(Duration::from_secs(1))).await;
        log.dots_after_stop = self.stage.relay.count() - before;
        let reason = json!({"reason": "訓練の一環として停止を確認した"});
        self.must(APPROVERS[0], Method::POST, &format!("{path}/resume"), reason).await?;
        self.bar.set_message("resumed");
        Ok(())
    }

    async fn wait_for(&self, path: &str, state: &str, log: &mut FlightLog) -> Result<()> {
        loop {
            let status = self.look(path, log).await?;
            if status["state"] == state {
                return Ok(());
            }
            ensure!(
                status["state"] != "cancelled" && status["state"] != "expired",
                "{path} became {} while waiting for {state}",
                status["state"]
            );
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn look(&self, path: &str, log: &mut FlightLog) -> Result<Value> {
        let status = self.must(VIEWER, Method::GET, path, Value::Null).await?;
        let count = |key: &str| status[key].as_u64().unwrap_or(0);
        log.submitting_peak = log.submitting_peak.max(count("submitting"));
        self.bar.set_length(count("total"));
        self.bar.set_position(count("total") - count("pending") - count("submitting") - count("deferred"));
        Ok(status)
    }

    async fn must(&self, who: usize, method: Method, path: &str, body: Value) -> Result<Value> {
        let (status, answer) = self.call(who, method, path, body).await?;
        ensure!(status.is_success(), "{path} was answered with {status}: {answer}");
        Ok(answer)
    }

    async fn call(&self, who: usize, method: Method, path: &str, body: Value) -> Result<(StatusCode, Value)> {
        let Player { token, .. } = &self.stage.players[who];
        let url = format!("{}/api/v1/{path}", self.stage.url());
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, text) = self.browser.call(method, &url, token, body).await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }
}
