//! A small installation behind real sockets: staff of every role, members, one drill that was
//! sent and half answered, one draft, one reply.

use domain::{
    Actor, Approved, BroadcastId, Clock, DeliveryEvent, ExerciseId, ExerciseState, FiscalCalendar, Keyring,
    MemberId, Nature, PREFECTURES, RecipientToken, ReplyClass, Role, SignaturesRequired, SmtpReply, StaffId,
    Timestamp, TokenKey, TokenKind,
};
use rand::{SeedableRng, rngs::StdRng};
use registry::AudienceSpec;
use replybox::{ArrivedBy, NewReply, ReplyBox};
use scheduler::{Desk, DeskSettings, NewNotice, Timeline, parse_plan};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use store::{Limits, Store, WorkerTerms};
use testkit::{ManualClock, SystemClock, TestDatabase, import_roster};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use web::{BindError, Lang, RouteInfo, Web, WebSettings, password};

pub(crate) const PASSWORD: &str = "火の用心 1923";

const PLAN: &str = r#"
title = "秋の総合防災訓練"
nature = "exercise"

[[inject]]
key = "start"
title = "訓練開始と安否の報告"
at = "0s"
subject = "訓練開始のお知らせ"
body = "{{name}} 様\n\n{{prefecture}}で震度6強の地震が起きた想定で訓練を始めます。\n下のリンクから状況を報告してください。"
audience = "all"
[inject.questionnaire]
title = "安否と活動の報告"
[[inject.questionnaire.questions]]
key = "safety"
text = "ご無事ですか"
required = true
kind = "choice"
choices = [{ value = "safe", label = "無事" }, { value = "hurt", label = "負傷あり" }]
[[inject.questionnaire.questions]]
key = "work"
text = "活動できますか"
required = true
kind = "choice"
choices = [{ value = "now", label = "すぐに活動できる" }, { value = "later", label = "後日なら" }, { value = "no", label = "できない" }]
[[inject.questionnaire.questions]]
key = "note"
text = "連絡事項"
kind = "text"

[[inject]]
key = "remind"
title = "未回答者への再通知"
at = "24h"
subject = "再通知"
body = "{{name}} 様\n回答をお願いします。"
non_respondents_of = "start"

[[inject]]
key = "end"
title = "訓練終了"
at = "51h"
subject = "訓練終了のお知らせ"
body = "{{name}} 様\n訓練を終わります。"
audience = "all"
"#;

/// One account of each role, with its session and form token once signed in.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) id: StaffId,
    pub(crate) email: &'static str,
    pub(crate) role: Role,
}

/// A running installation.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) store: Store,
    pub(crate) desk: Desk,
    pub(crate) keyring: Keyring,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) routes: Vec<RouteInfo>,
    pub(crate) exercise: ExerciseId,
    pub(crate) sent: BroadcastId,
    pub(crate) draft: BroadcastId,
    pub(crate) people: Vec<Person>,
    pub(crate) members: Vec<MemberId>,
    pub(crate) replies: ReplyBox,
    stop: CancellationToken,
    running: JoinHandle<()>,
    _database: TestDatabase,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// A signed-in browser.
#[derive(Debug, Clone)]
pub(crate) struct Browser {
    pub(crate) cookie: String,
    pub(crate) form_token: String,
}

impl Site {
    /// Builds and starts it with `members` members at `listen`.
    pub(crate) async fn start(members: u32, listen: &str) -> Self {
        Self::start_where(members, listen, vec![Nature::Actual]).await
    }

    /// The same, where answer pages of these natures ask for a proof of membership.
    pub(crate) async fn start_where(members: u32, listen: &str, prove_membership: Vec<Nature>) -> Self {
        let database = testkit::fresh_sqlite().await;
        let store = Store::connect(&database.core_url).await.expect("core");
        let replies = ReplyBox::connect(&database.replies_url).await.expect("replies");
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let keyring = Keyring::new(TokenKey::new(1, [7; 32]), vec![]);
        let desk = Desk::new(store.clone(), keyring.clone(), desk_settings(), clock.clone());
        let people = staff(&store, clock.now()).await;
        let ids = roster(&store, clock.now(), members).await;
        let mut stage = Stage { store: &store, desk: &desk, clock: &clock, people: &people };
        let (exercise, sent) = stage.drill(&ids).await;
        let draft = stage.draft("actual-draft", Nature::Actual).await;
        replies.insert(reply(sent, ids[0], clock.now())).await.expect("a reply");
        let bound = web::bind(Web {
            store: store.clone(),
            replybox: Some(replies.clone()),
            desk: desk.clone(),
            settings: WebSettings { prove_membership, ..settings(listen) },
            keyring: keyring.clone(),
            clock: clock.clone(),
            rng: StdRng::from_seed([9; 32]),
            demo: None,
        })
        .await
        .expect("bind");
        let (address, routes, stop) = (bound.addr(), bound.routes(), CancellationToken::new());
        let running = tokio::spawn(bound.run(stop.clone()));
        Self {
            address,
            store,
            desk,
            keyring,
            clock,
            routes,
            exercise,
            sent,
            draft,
            people,
            members: ids,
            replies,
            stop,
            running,
            _database: database,
        }
    }

    /// Ends it; the drain must be over soon.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.running).await.expect("drained").expect("ended");
    }

    /// The person of that role.
    pub(crate) fn person(&self, role: Role) -> &Person {
        self.people.iter().find(|person| person.role == role).expect("a person of each role")
    }

    /// The path of a member's own page.
    pub(crate) fn link(&self, kind: TokenKind, member: MemberId) -> String {
        let token = RecipientToken { kind, broadcast: self.sent, member };
        let area = if kind == TokenKind::Unsubscribe { "u" } else { "r" };
        format!("/{area}/{}", self.keyring.write(token))
    }

    /// Any request.
    pub(crate) async fn request(&self, head: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.send(head, headers, body.as_bytes()).await
    }

    async fn send(&self, head: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut text = format!("{head} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let mut socket = connect(self.address).await;
        socket.write_all(&[text.as_bytes(), body].concat()).await.expect("send");
        let mut raw = Vec::new();
        socket.read_to_end(&mut raw).await.expect("receive");
        parse(&String::from_utf8_lossy(&raw))
    }

    /// GET without a session.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request(&format!("GET {path}"), &[], "").await
    }

    /// GET as a browser.
    pub(crate) async fn get_as(&self, browser: &Browser, path: &str) -> Answer {
        self.request(&format!("GET {path}"), &[("Cookie", &browser.cookie)], "").await
    }

    /// POST of a form without a session.
    pub(crate) async fn post(&self, path: &str, form: &str) -> Answer {
        self.request(&format!("POST {path}"), &[FORM], form).await
    }

    /// POST of a form as a browser, with its form token.
    pub(crate) async fn post_as(&self, browser: &Browser, path: &str, form: &str) -> Answer {
        let body = format!("form_token={}&{form}", browser.form_token);
        self.request(&format!("POST {path}"), &[FORM, ("Cookie", &browser.cookie)], &body).await
    }

    /// A roster as a browser sends it, with these fields before the file.
    pub(crate) async fn upload(
        &self,
        cookies: &str,
        fields: &[(&str, &str)],
        (name, file): (&str, &[u8]),
    ) -> Answer {
        let mut body = Vec::new();
        for (field, value) in fields {
            let part =
                format!("--part\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n");
            body.extend_from_slice(part.as_bytes());
        }
        let head = format!(
            "--part\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n--part--\r\n");
        let kind = ("Content-Type", "multipart/form-data; boundary=part");
        self.send("POST /imports", &[kind, ("Cookie", cookies)], &body).await
    }

    /// Imports a roster for the present fiscal year.
    pub(crate) async fn import(&self, file: &str) {
        import(&self.store, self.clock.now(), file.to_owned()).await;
    }

    /// Signs in and reads the form token off the home page.
    pub(crate) async fn sign_in(&self, role: Role) -> Browser {
        let form = format!("email={}&password={}&to=/", self.person(role).email, encode(PASSWORD));
        let answer = self.post("/login", &form).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        let cookie = answer.headers["set-cookie"].split(';').next().expect("a cookie").to_owned();
        let home = self.request("GET /", &[("Cookie", &cookie)], "").await;
        assert_eq!(home.status, 200, "{}", home.body);
        let form_token = between(&home.body, "name=\"form_token\" value=\"", "\"").to_owned();
        Browser { cookie, form_token }
    }

    /// Gives the person of that role a personal token.
    pub(crate) async fn add_token(&self, role: Role, token: &str) {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let (id, now) = (self.person(role).id, self.clock.now());
        self.store.create_api_token(Actor::LocalEngineer, &hash, id, now).await.expect("a token");
    }

    /// A second server at the same address.
    pub(crate) async fn bind_again(&self) -> Result<(), BindError> {
        let web = Web {
            store: self.store.clone(),
            replybox: None,
            desk: self.desk.clone(),
            settings: settings(&self.address.to_string()),
            keyring: self.keyring.clone(),
            clock: self.clock.clone(),
            rng: StdRng::from_seed([1; 32]),
            demo: None,
        };
        web::bind(web).await.map(|_| ())
    }

    /// A fresh connection to it.
    pub(crate) async fn connect(&self) -> TcpStream {
        connect(self.address).await
    }
}

/// Content type of a form.
pub(crate) const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// The text between two marks.
pub(crate) fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let rest = text.split_once(from).unwrap_or_else(|| panic!("{from:?} in {text}")).1;
    rest.split_once(to).expect("the end mark").0
}

/// Percent-encodes everything.
pub(crate) fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[expect(clippy::disallowed_methods, reason = "the test is the client")]
async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("connect")
}

fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status");
    let headers = lines.filter_map(|line| line.split_once(": "));
    Answer {
        status: status.parse().expect("a number"),
        headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect(),
        body: body.to_owned(),
    }
}

fn settings(listen: &str) -> WebSettings {
    WebSettings {
        organization: "日本災害看護研究会".into(),
        contact: "事務局 03-0000-0000".into(),
        public_url: "https://drill.example.jp".into(),
        language: Lang::Ja,
        listen: listen.parse().expect("an address"),
        time_zone: chrono_tz::Asia::Tokyo,
        rehearsal: false,
        prove_membership: vec![Nature::Actual],
        retention: domain::RetentionPeriods { replies: "400d".parse().ok(), ..Default::default() },
    }
}

fn desk_settings() -> DeskSettings {
    DeskSettings {
        from: "訓練本部 <drill@example.jp>".into(),
        organization: "日本災害看護研究会".into(),
        contact: "事務局 03-0000-0000".into(),
        public_url: "https://drill.example.jp".into(),
        sink_domain: "reply.example.jp".into(),
        policy: store::ReleasePolicy::capped_at(3_000),
        rates: vec!["10/s".parse().expect("a rate")],
        connections: 4,
        one_click_unsubscribe: false,
        calendar: FiscalCalendar::JAPAN,
    }
}

async fn staff(store: &Store, now: Timestamp) -> Vec<Person> {
    let hash = password::hash(PASSWORD, &[3; 16]).expect("a hash");
    let mut people = Vec::new();
    for (email, name, role) in [
        ("tanto@example.jp", "田中 担当", Role::Coordinator),
        ("shonin@example.jp", "佐藤 承認", Role::Approver),
        ("se@example.jp", "鈴木 管理", Role::Engineer),
        ("miru@example.jp", "高橋 閲覧", Role::Viewer),
    ] {
        let id = store.add_staff(Actor::LocalEngineer, email, name, role, &hash, now).await.expect("staff");
        people.push(Person { id, email, role });
    }
    people
}

async fn roster(store: &Store, now: Timestamp, count: u32) -> Vec<MemberId> {
    let mut file = "会員番号,氏名,メールアドレス,都道府県,施設名\n".to_owned();
    for n in 0..count {
        // One in forty has no address and is held.
        let address = if n % 40 == 39 { String::new() } else { format!("member{n}@example.jp") };
        let prefecture = PREFECTURES[(n * 7 % 47) as usize];
        file += &format!("K{n:05},会員 {n},{address},{prefecture},第{n}病院\n");
    }
    import(store, now, file).await;
    let all = store.members_with_years(MemberId::new(0), count).await.expect("members");
    all.into_iter().map(|known| known.member.id).collect()
}

async fn import(store: &Store, now: Timestamp, file: String) {
    import_roster(store, &file, FiscalCalendar::JAPAN.year_at(now), now).await;
}

pub(crate) fn reply(broadcast: BroadcastId, member: MemberId, now: Timestamp) -> NewReply {
    NewReply {
        received_at: now,
        broadcast,
        member,
        arrived_by: ArrivedBy::Reply,
        envelope_from: "member0@example.jp".into(),
        peer: "127.0.0.1".into(),
        class: ReplyClass::HumanReply,
        reason: None,
        status: None,
        subject: "<script>alert(1)</script> Re: 訓練開始".into(),
        from_header: "\"><img src=x onerror=alert(1)> <member0@example.jp>".into(),
        body_text: "無事です。<b>太字</b>\n<script>alert(2)</script>".into(),
        raw: b"Subject: x\r\n\r\n<script>alert(3)</script>"[..].into(),
    }
}

struct Stage<'a> {
    store: &'a Store,
    desk: &'a Desk,
    clock: &'a Arc<ManualClock>,
    people: &'a [Person],
}

impl Stage<'_> {
    fn actor(&self, role: Role) -> Actor {
        let person = self.people.iter().find(|person| person.role == role).expect("a person");
        Actor::Staff { id: person.id, role }
    }

    async fn draft(&mut self, key: &str, nature: Nature) -> BroadcastId {
        let notice = NewNotice {
            nature,
            subject: "大雨警報に関するお知らせ".into(),
            body: "{{name}} 様\n\n{{prefecture}}に大雨警報が出ています。安全を確保してください。".into(),
            audience: AudienceSpec::Named("all".into()),
            questionnaire: None,
            finish_by: None,
            idempotency_key: key.into(),
        };
        self.desk.draft(self.actor(Role::Coordinator), &notice).await.expect("a draft")
    }

    /// A drill whose first notice is out, all but the last rows, and half answered.
    async fn drill(&mut self, members: &[MemberId]) -> (ExerciseId, BroadcastId) {
        let author = self.people[0].id;
        let plan = parse_plan(PLAN, author, "plan".into()).expect("a plan");
        let coordinator = self.actor(Role::Coordinator);
        let id = self.store.create_exercise(coordinator, &plan, self.clock.now()).await.expect("a drill");
        self.store
            .move_exercise(coordinator, id, ExerciseState::Running, self.clock.now())
            .await
            .expect("running");
        let timeline = Timeline::new(self.desk.clone(), self.clock.clone());
        let sent = loop {
            timeline.tick().await.expect("a tick");
            let first = self.store.injects(id).await.expect("injects").remove(0);
            if let Some(broadcast) = first.broadcast {
                let state = self.store.broadcast(broadcast).await.expect("read").expect("there").state;
                if state == domain::BroadcastState::AwaitingApproval {
                    break broadcast;
                }
            }
        };
        self.desk.approve(self.actor(Role::Approver), sent, None, &[]).await.expect("approved");
        timeline.tick().await.expect("released");
        self.deliver(sent, members.len()).await;
        self.answer(sent, members).await;
        (id, sent)
    }

    async fn deliver(&mut self, id: BroadcastId, rows: usize) {
        let broadcast = self.store.broadcast(id).await.expect("read").expect("there");
        let frozen = broadcast.frozen(broadcast.digest.expect("frozen"));
        let signatures = self.store.signatures(id).await.expect("signatures");
        let needed = SignaturesRequired::for_release(false);
        let approved = Approved::verify(frozen, &signatures, needed).expect("approved");
        let worker = self.store.register_worker("test").await.expect("a worker");
        let terms = WorkerTerms {
            chunk_size: u32::try_from(rows * 3 / 4).expect("a size"),
            chunk_budget: Duration::from_secs(60),
            submission_max: Duration::from_secs(60),
            limits: Limits::NONE,
        };
        let claimed = self.store.claim(worker, &approved, &terms).await.expect("claimed");
        let turn = self.store.turn(worker, &[], claimed, &terms).await.expect("intents");
        let mut outcomes = Vec::new();
        for (n, permit) in turn.permits.into_iter().enumerate() {
            let event = match n % 23 {
                7 => DeliveryEvent::RelayRejected(SmtpReply::new(550, "5.1.1 no such user")),
                11 => DeliveryEvent::OutcomeLost,
                13 => DeliveryEvent::RelayDeferred {
                    reply: Some(SmtpReply::new(451, "4.7.1 greylisted, try again later")),
                    retry_at: self.clock.now().plus(Duration::from_secs(600)),
                },
                _ => DeliveryEvent::RelayAccepted(SmtpReply::new(250, "2.0.0 queued")),
            };
            outcomes.push(permit.outcome(&event, "relay.example.jp", self.clock.now()).expect("legal"));
        }
        self.store.turn(worker, &outcomes, vec![], &terms).await.expect("outcomes");
    }

    async fn answer(&mut self, id: BroadcastId, members: &[MemberId]) {
        for (n, member) in members.iter().enumerate().filter(|(n, _)| n % 40 != 39 && n % 5 < 3 && *n > 0) {
            self.clock.advance(Duration::from_secs(20 + n as u64));
            let safety = if n % 19 == 0 { "hurt" } else { "safe" };
            let work = ["now", "later", "no"][n % 3];
            let answers = [("safety".to_owned(), safety.to_owned()), ("work".to_owned(), work.to_owned())];
            self.store.save_response(id, *member, &answers.into(), self.clock.now()).await.expect("stored");
        }
    }
}
