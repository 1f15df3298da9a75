//! One call of the command line.

use crate::{
    process::{Process, hansho_executable},
    society::Person,
};
use serde_json::Value;
use std::{pin::Pin, process::ExitStatus, time::Duration};

/// `send --wait` and a demonstration take their time.
const CALL_MAX: Duration = Duration::from_secs(150);

/// A call that is made when awaited. Without a person it is the local engineer's.
#[derive(Debug, Clone)]
#[must_use = "a call is made when awaited"]
pub struct Call {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    json: bool,
    limit: Duration,
}

/// `hansho` with these arguments and `--json`, on no particular installation.
pub fn hansho(arguments: &[&str]) -> Call {
    Call {
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        environment: Vec::new(),
        json: true,
        limit: CALL_MAX,
    }
}

impl Call {
    /// On behalf of this person, by their token.
    pub fn by(self, person: &Person) -> Self {
        self.with("HANSHO_TOKEN", &person.token)
    }

    /// With a variable in its environment.
    pub fn with(mut self, variable: &str, value: &str) -> Self {
        self.environment.push((variable.to_owned(), value.to_owned()));
        self
    }

    /// Without `--json`: as people call it.
    pub fn plainly(mut self) -> Self {
        self.json = false;
        self
    }

    /// Fails, and is killed, if it takes longer than this.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    async fn make(mut self) -> Answer {
        if self.json {
            self.arguments.push("--json".to_owned());
        }
        let mut process = Process::start(&hansho_executable(), &self.arguments, &self.environment);
        let status = process.end(self.limit).await;
        Answer::of(&self.arguments.join(" "), status, &process)
    }
}

impl IntoFuture for Call {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.make())
    }
}

/// What a call said.
#[derive(Debug, Clone)]
pub struct Answer {
    call: String,
    /// Exit code; -1 where a signal ended it.
    pub code: i32,
    /// As written.
    pub stdout: String,
    /// As written: logs, and why it failed.
    pub stderr: String,
}

impl Answer {
    pub(crate) fn of(call: &str, status: ExitStatus, process: &Process) -> Self {
        Self {
            call: call.to_owned(),
            code: status.code().unwrap_or(-1),
            stdout: process.stdout(),
            stderr: process.stderr(),
        }
    }

    /// The one JSON document on stdout of a call that succeeded.
    ///
    /// # Panics
    /// For any exit code but 0, and for anything but exactly one document.
    #[must_use]
    pub fn done(self) -> Value {
        self.with_code(0).json()
    }

    /// The text on stdout of a call that succeeded.
    ///
    /// # Panics
    /// For any exit code but 0.
    #[must_use]
    pub fn text(self) -> String {
        self.with_code(0).stdout
    }

    /// Itself, if it has this exit code.
    ///
    /// # Panics
    /// For any other.
    #[must_use]
    pub fn with_code(self, code: i32) -> Self {
        let Self { call, stdout, stderr, .. } = &self;
        assert_eq!(self.code, code, "exit code of `hansho {call}`\nstdout: {stdout}\nstderr: {stderr}");
        self
    }

    /// Itself, if the safety rule `rule` refused it (exit code 3), named and with a way on.
    ///
    /// # Panics
    /// For any other answer.
    #[must_use]
    pub fn refused_by(self, rule: &str) -> Self {
        let answer = self.with_code(3);
        let named = answer.stderr.contains(&format!("refused by rule {rule}:"));
        assert!(named, "`hansho {}` was to be refused by {rule}: {}", answer.call, answer.stderr);
        assert!(answer.stderr.contains(" → "), "a refusal names the way on: {}", answer.stderr);
        answer
    }

    /// The one JSON document on stdout, whatever the exit code.
    ///
    /// # Panics
    /// For anything but exactly one document.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|problem| {
            panic!(
                "`hansho {}` prints one JSON document ({problem})\nstdout: {}\nstderr: {}",
                self.call, self.stdout, self.stderr
            )
        })
    }
}
