//! Serves the test site for looking at it.
#[path = "../tests/site/mod.rs"]
mod site;

#[tokio::main]
async fn main() {
    let site = site::Site::start(200, "127.0.0.1:18099").await;
    println!("up {} answer {}", site.address, site.link(domain::TokenKind::Answer, site.members[0]));
    println!("answered {}", site.link(domain::TokenKind::Answer, site.members[1]));
    println!("unsub {}", site.link(domain::TokenKind::Unsubscribe, site.members[1]));
    site.wait().await;
}
