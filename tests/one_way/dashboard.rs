//! The dashboard and the members' pages, as a browser or a scanner speaks to them: one request,
//! one connection, headers as given.

use hansho_tests::{Person, Society};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const ANSWER_MAX: Duration = Duration::from_secs(30);
const FORM: &str = "application/x-www-form-urlencoded";

/// What came back.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Page {
    fn parse(octets: &[u8]) -> Self {
        let text = String::from_utf8_lossy(octets);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not an HTTP answer: {head}"));
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// The value of a hidden field.
    fn field(&self, name: &str) -> String {
        let marker = format!("name=\"{name}\" value=\"");
        let rest =
            self.body.split(&marker).nth(1).unwrap_or_else(|| panic!("no field {name}: {}", self.body));
        rest.split('"').next().expect("a value").to_owned()
    }
}

/// A request to a path of the web part; no more headers than it needs.
pub(crate) async fn request(society: &Society, method: &str, path: &str, headers: &str, body: &str) -> Page {
    Page::parse(&exchange(society, method, path, headers, body).await)
}

/// Posts a form without cookies.
pub(crate) async fn post(society: &Society, path: &str, body: &str) -> Page {
    request(society, "POST", path, &format!("Content-Type: {FORM}\r\n"), body).await
}

#[expect(clippy::disallowed_methods, reason = "browsers connect to the dashboard under test")]
async fn exchange(society: &Society, method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let address = society.url().replace("http://", "");
    let host = if headers.contains("Host: ") { String::new() } else { format!("Host: {address}\r\n") };
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    let spoken = async {
        let mut stream = TcpStream::connect(&address).await.expect("the web part listens");
        stream.write_all(request.as_bytes()).await.expect("the request is taken");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("the answer comes");
        answer
    };
    timeout(ANSWER_MAX, spoken).await.expect("the web part answers in time")
}

/// A connection that begins a request and never ends it.
#[expect(clippy::disallowed_methods, reason = "browsers connect to the dashboard under test")]
pub(crate) async fn silent(society: &Society, index: usize) -> TcpStream {
    let address = society.url().replace("http://", "");
    let mut stream = TcpStream::connect(&address).await.expect("the web part listens");
    let begun = ["", "GET", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", "POST /login HTTP/1.1\r\nHost: x\r\n"];
    stream.write_all(begun[index % begun.len()].as_bytes()).await.expect("the connection holds");
    stream
}

/// Somebody signed in.
pub(crate) struct Session<'a> {
    society: &'a Society,
    cookie: String,
}

impl<'a> Session<'a> {
    /// Signs in with the password.
    pub(crate) async fn of(society: &'a Society, person: &Person) -> Self {
        let form = format!("email={}&password={}&to=%2F", person.email.replace('@', "%40"), person.password);
        let page = post(society, "/login", &form).await;
        assert_eq!(page.status, 303, "{} signs in: {}", person.email, page.body);
        let cookie = page.head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("set-cookie").then(|| value.split(';').next().expect("a cookie"))
        });
        Self { society, cookie: cookie.expect("a session").to_owned() }
    }

    /// Opens a page and posts the form to `action`, with the page's own hidden fields.
    pub(crate) async fn submit(&self, page: &str, action: &str, fields: &str) -> Page {
        let opened = request(self.society, "GET", page, &format!("Cookie: {}\r\n", self.cookie), "").await;
        assert_eq!(opened.status, 200, "{page}: {}", opened.body);
        let form_token = opened.field("form_token");
        let body = format!("form_token={form_token}&{fields}");
        let headers = format!("Cookie: {}\r\nContent-Type: {FORM}\r\n", self.cookie);
        request(self.society, "POST", action, &headers, &body).await
    }
}

/// As a form writes it.
pub(crate) fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
