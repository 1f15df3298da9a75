//! A relay that goes wrong at a chosen step, once for each cell of the matrix.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// How much of an endless reply is sent before the client has to have had enough: ten times what
/// any reply needs, and bounded, in case it has not.
const ENDLESS_LINES: usize = 100_000;
const DRIP_INTERVAL: Duration = Duration::from_millis(400);
/// Longer than any time limit of the client under test.
const STALL: Duration = Duration::from_secs(20);

/// Where it goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Connect,
    Greeting,
    Ehlo,
    Mail,
    Rcpt,
    Data,
    Dot,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Reply(&'static str),
    Garbage,
    Endless,
    Dripping,
    Stall,
    Reset,
    Close,
    Late,
}

/// One transaction, or what comes before it.
pub(crate) type Cell = Option<(Step, Fault)>;

/// What the relay knows in the end.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Which cell was whose, by the recipient's address.
    pub(crate) cells: HashMap<String, usize>,
    /// How many whole mails were received for a cell, and how many of them were answered with 250.
    pub(crate) dots: HashMap<usize, (u32, u32)>,
}

struct State {
    cells: Vec<Cell>,
    /// The cell of the next return path not seen before.
    next: usize,
    by_return_path: HashMap<String, usize>,
    spent: HashSet<usize>,
    record: Record,
}

/// Listens until dropped.
pub(crate) struct FaultyRelay {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl FaultyRelay {
    pub(crate) async fn start(cells: Vec<Cell>, extensions: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let state = Arc::new(Mutex::new(State {
            cells,
            next: 0,
            by_return_path: HashMap::new(),
            spent: HashSet::new(),
            record: Record::default(),
        }));
        let shared = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = shared.clone();
                // How a connection ends is the client's business.
                tokio::spawn(async move { Session::new(stream, state, extensions).run().await.ok() });
            }
        });
        Self { address, state, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    pub(crate) fn record(&self) -> Record {
        std::mem::take(&mut lock(&self.state).record)
    }
}

impl Drop for FaultyRelay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("nothing panics while holding it")
}

struct Session {
    stream: BufReader<TcpStream>,
    state: Arc<Mutex<State>>,
    extensions: &'static str,
    cell: usize,
}

/// Whether the session goes on.
type Flow = io::Result<bool>;

impl Session {
    fn new(stream: TcpStream, state: Arc<Mutex<State>>, extensions: &'static str) -> Self {
        let cell = lock(&state).next;
        Self { stream: BufReader::new(stream), state, extensions, cell }
    }

    async fn run(mut self) -> io::Result<()> {
        self.stream.get_ref().set_nodelay(true)?;
        if self.fault(Step::Connect).is_some_and(|fault| fault == Fault::Close) {
            return Ok(());
        }
        let mut goes_on = self.answer(Step::Greeting, "220 faulty.invalid ESMTP").await?;
        let mut line = String::new();
        while goes_on {
            line.clear();
            if self.stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            goes_on = self.obey(line.trim_end()).await?;
        }
        Ok(())
    }

    async fn obey(&mut self, line: &str) -> Flow {
        let verb = line.get(..4).unwrap_or(line).to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => {
                let extensions = self.extensions;
                self.answer(Step::Ehlo, &format!("250-faulty.invalid\r\n250 {extensions}")).await
            }
            "MAIL" => {
                self.cell = self.cell_of(line);
                self.answer(Step::Mail, "250 2.1.0 ok").await
            }
            "RCPT" => {
                let to = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                lock(&self.state).record.cells.insert(to, self.cell);
                self.answer(Step::Rcpt, "250 2.1.5 ok").await
            }
            "DATA" => {
                let refused = self.is_refused(Step::Data);
                let goes_on = self.answer(Step::Data, "354 go on").await?;
                // Where DATA was refused, what follows are commands.
                if goes_on && !refused { self.mail().await } else { Ok(goes_on) }
            }
            "QUIT" => {
                self.say("221 2.0.0 bye").await?;
                Ok(false)
            }
            _ => self.say("250 2.0.0 ok").await.map(|()| true),
        }
    }

    async fn mail(&mut self) -> Flow {
        let mut mail = Vec::new();
        while !mail.ends_with(b"\r\n.\r\n") {
            if self.stream.read_until(b'\n', &mut mail).await? == 0 {
                return Ok(false);
            }
        }
        lock(&self.state).record.dots.entry(self.cell).or_default().0 += 1;
        self.answer(Step::Dot, "250 2.0.0 taken").await
    }

    fn cell_of(&self, line: &str) -> usize {
        let mut state = lock(&self.state);
        if let Some(cell) = state.by_return_path.get(line) {
            return *cell;
        }
        let cell = state.next;
        state.next += 1;
        state.by_return_path.insert(line.to_owned(), cell);
        cell
    }

    fn is_refused(&self, step: Step) -> bool {
        let state = lock(&self.state);
        let refuses = |(at, fault)| at == step && !matches!(fault, Fault::Late);
        state.cells.get(self.cell).copied().flatten().is_some_and(refuses)
            && !state.spent.contains(&self.cell)
    }

    /// This cell's fault, once, where it belongs to this step.
    fn fault(&self, step: Step) -> Option<Fault> {
        let mut state = lock(&self.state);
        let (at, fault) = state.cells.get(self.cell).copied().flatten()?;
        (at == step && state.spent.insert(self.cell)).then_some(fault)
    }

    async fn answer(&mut self, step: Step, usual: &str) -> Flow {
        match self.fault(step) {
            None => self.usual(step, usual).await,
            Some(Fault::Late) => {
                tokio::time::sleep(Duration::from_millis(150)).await;
                self.usual(step, usual).await
            }
            Some(Fault::Reply(reply)) => {
                self.say(reply).await?;
                Ok(!reply.starts_with("421"))
            }
            Some(Fault::Garbage) => self.say("what is it you want?").await.map(|()| true),
            Some(Fault::Endless) => {
                for _ in 0..ENDLESS_LINES {
                    self.say("250-and so on").await?;
                }
                Ok(false)
            }
            Some(Fault::Dripping) => {
                for octet in format!("{usual}\r\n").bytes() {
                    self.stream.write_all(&[octet]).await?;
                    tokio::time::sleep(DRIP_INTERVAL).await;
                }
                Ok(false)
            }
            Some(Fault::Stall) => {
                let mut ignored = Vec::new();
                let _gone = tokio::time::timeout(STALL, self.stream.read_to_end(&mut ignored)).await;
                Ok(false)
            }
            Some(Fault::Reset) => {
                self.stream.get_ref().set_zero_linger()?;
                Ok(false)
            }
            Some(Fault::Close) => Ok(false),
        }
    }

    async fn usual(&mut self, step: Step, reply: &str) -> Flow {
        self.say(reply).await?;
        if step == Step::Dot {
            lock(&self.state).record.dots.entry(self.cell).or_default().1 += 1;
        }
        Ok(true)
    }

    async fn say(&mut self, reply: &str) -> io::Result<()> {
        self.stream.write_all(format!("{reply}\r\n").as_bytes()).await
    }
}
