//! One person's browser window: what they type, press and read.

use crate::chrome::{Chrome, Chromium};
use fantoccini::{Client, Locator};
use hansho_tests::{PATIENCE, Person, until};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    error::Error,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A desktop's width.
pub(crate) const DESKTOP: u32 = 1280;
/// A phone's width.
pub(crate) const PHONE: u32 = 390;
/// A phone's height: what is seen without scrolling.
pub(crate) const PHONE_HEIGHT: u32 = 844;

/// What one look at a page gives, or why it gave nothing yet.
pub(crate) type Look<T> = Result<T, Box<dyn Error>>;

/// A window, at the site's address.
pub(crate) struct Window<'a> {
    chrome: &'a Chrome,
    client: Client,
    session: String,
    site: String,
    _chromium: Chromium,
    _profile: TempDir,
}

impl<'a> Window<'a> {
    pub(crate) fn new(
        chrome: &'a Chrome,
        client: Client,
        session: String,
        site: String,
        chromium: Chromium,
        profile: TempDir,
    ) -> Self {
        Self { chrome, client, session, site, _chromium: chromium, _profile: profile }
    }

    /// Opens a page of the site.
    pub(crate) async fn open(&self, path: &str) {
        self.goto(&format!("{}{path}", self.site)).await;
    }

    /// Opens an address as it stands in a mail.
    pub(crate) async fn goto(&self, url: &str) {
        self.client.goto(url).await.expect("the browser goes there");
    }

    /// Signs in with the password.
    pub(crate) async fn sign_in(&self, person: &Person) {
        self.open("/login").await;
        self.fill("email", &person.email).await;
        self.fill("password", &person.password).await;
        self.press("ログインする").await;
        self.shows("現在の状況").await;
    }

    /// Somebody else sits down at it.
    pub(crate) async fn hand_over_to(&self, person: &Person) {
        self.press("ログアウト").await;
        self.shows("ログインする").await;
        self.sign_in(person).await;
    }

    /// Writes a notice to all and keeps the draft.
    pub(crate) async fn write_notice(&self, nature: &str, subject: &str, body: &str) {
        self.press("お知らせを作る").await;
        self.choose("nature", nature).await;
        self.fill("subject", subject).await;
        self.fill("body", body).await;
        self.click("select[name=audience] option[value=all]").await;
        self.press("下書きを保存する").await;
        self.shows("下書きを保存しました。").await;
    }

    /// Types into a field.
    pub(crate) async fn fill(&self, field: &str, text: &str) {
        let selector = format!("[name={field}]:not([type=hidden])");
        self.wait(&format!("the field {field}"), async || {
            let field = self.client.find(Locator::Css(&selector)).await?;
            field.clear().await?;
            Ok(field.send_keys(text).await?)
        })
        .await;
    }

    /// Chooses a file.
    pub(crate) async fn attach(&self, file: &Path) {
        let path = file.display().to_string();
        self.wait("the field for a file", async || {
            Ok(self.client.find(Locator::Css("input[type=file]")).await?.send_keys(&path).await?)
        })
        .await;
    }

    /// Taps a choice.
    pub(crate) async fn choose(&self, field: &str, value: &str) {
        self.click(&format!("input[name={field}][value={value}]")).await;
    }

    /// Presses the button or follows the link with these words, once it is there.
    pub(crate) async fn press(&self, words: &str) {
        let xpath = by_words(words);
        self.wait(&format!("「{words}」 to be there to press"), async || {
            Ok(self.client.find(Locator::XPath(&xpath)).await?.click().await?)
        })
        .await;
    }

    /// Whether there is a button or link with these words.
    pub(crate) async fn offers(&self, words: &str) -> bool {
        let found = self.client.find_all(Locator::XPath(&by_words(words))).await;
        !found.expect("the page can be searched").is_empty()
    }

    /// Waits until the page says this.
    pub(crate) async fn shows(&self, words: &str) {
        self.wait(&format!("the page to say 「{words}」"), async || {
            if self.read().await?.contains(words) { Ok(()) } else { Err("it says something else".into()) }
        })
        .await;
    }

    /// Waits until the page no longer says this.
    pub(crate) async fn hides(&self, words: &str) {
        self.wait(&format!("the page to say 「{words}」 no more"), async || {
            if self.read().await?.contains(words) { Err("it still does".into()) } else { Ok(()) }
        })
        .await;
    }

    /// Everything that can be read on the page now.
    pub(crate) async fn text(&self) -> String {
        self.read().await.expect("the page has a text")
    }

    /// What the window's title says.
    pub(crate) async fn title(&self) -> String {
        self.client.title().await.expect("a window has a title")
    }

    /// Where it is: the address without the site.
    pub(crate) async fn path(&self) -> String {
        let url = self.client.current_url().await.expect("a window has an address");
        url.as_str().trim_start_matches(&self.site).to_owned()
    }

    /// What a style sheet made of the first element found.
    pub(crate) async fn style(&self, selector: &str, property: &str) -> String {
        let element = self.client.find(Locator::Css(selector)).await;
        let element = element.unwrap_or_else(|problem| panic!("{selector}: {problem}"));
        element.css_value(property).await.expect("an element has a style")
    }

    /// What the script's last expression gives; works without the page's own JavaScript, too.
    pub(crate) async fn script(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.expect("a script of the test runs")
    }

    /// The table of counts, by the words in it; `合計` is the total.
    ///
    /// # Panics
    /// Where the rows do not add up to the total.
    pub(crate) async fn counts(&self) -> BTreeMap<String, u64> {
        let rows = self.wait("the table of counts", async || self.count_rows().await).await;
        let total = rows["合計"];
        assert_eq!(rows.values().sum::<u64>(), 2 * total, "the rows add up to the total: {rows:?}");
        rows
    }

    async fn count_rows(&self) -> Look<BTreeMap<String, u64>> {
        let script = "return [...document.querySelectorAll('[data-live=counts] tbody tr, [data-live=counts] tfoot tr')]\
            .map(row => { const head = row.querySelector('th').cloneNode(true);\
                          head.querySelector('.mean')?.remove();\
                          return [head.textContent.trim(), row.querySelector('td').textContent]; })";
        // While the page is loaded anew there is nothing to read.
        let rows: Vec<(String, String)> =
            serde_json::from_value(self.client.execute(script, Vec::new()).await?)?;
        if rows.is_empty() {
            return Err("there is no such table".into());
        }
        Ok(rows.into_iter().map(|(word, count)| (word, number(&count))).collect())
    }

    /// Resizes the page, not the window: exact on every platform.
    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 640});
        let command = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics});
        self.chrome.command(&self.session, "goog/cdp/execute", command).await;
    }

    /// What the browser complained about since the last look.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.chrome.command(&self.session, "se/log", json!({"type": "browser"})).await;
        let entries = log.as_array().expect("a log is a list");
        entries.iter().map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Whether a dialog stands in the way.
    pub(crate) async fn has_dialog(&self) -> bool {
        self.client.get_alert_text().await.is_ok()
    }

    /// Keeps a picture of the whole page as `target/screenshots/NAME.png`.
    pub(crate) async fn keep_picture(&self, name: &str, width: u32) {
        let height = self.script("return document.documentElement.scrollHeight").await;
        let height = height.as_u64().and_then(|height| u32::try_from(height).ok()).expect("a height");
        self.resize(width, height).await;
        let picture = self.client.screenshot().await.expect("a picture can be taken");
        let folder = screenshots();
        std::fs::create_dir_all(&folder).expect("a folder for pictures can be made");
        std::fs::write(folder.join(format!("{name}.png")), picture).expect("a picture can be kept");
    }

    /// Looks again and again until it succeeds.
    ///
    /// # Panics
    /// Where it does not in time: tells the last look's problem and what the page says.
    pub(crate) async fn wait<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Look<T>) -> T {
        let mut problem = String::new();
        let looks =
            until(what, PATIENCE * 2, async || look().await.map_err(|last| problem = last.to_string()).ok());
        if let Ok(found) = tokio::time::timeout(PATIENCE, looks).await {
            return found;
        }
        let (path, text) = (self.path().await, self.text().await);
        panic!("waited in vain for {what} ({problem}): {path} says\n{text}")
    }

    /// Closes it.
    pub(crate) async fn close(self) {
        self.client.close().await.expect("a window can be closed");
    }

    async fn read(&self) -> Look<String> {
        Ok(self.client.find(Locator::Css("body")).await?.text().await?)
    }

    pub(crate) async fn click(&self, selector: &str) {
        self.wait(&format!("{selector} to be there to click"), async || {
            Ok(self.client.find(Locator::Css(selector)).await?.click().await?)
        })
        .await;
    }
}

/// The digits of a number as pages write it, e.g. `1,200`.
pub(crate) fn number(text: &str) -> u64 {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("{text:?} is a number"))
}

fn by_words(words: &str) -> String {
    format!("//*[self::button or self::a or self::summary][normalize-space()='{words}']")
}

fn screenshots() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots")
}
