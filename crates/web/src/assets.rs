//! Style sheet, script and icon, compiled in: nothing is read from the working directory.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// One file under `/assets/`.
pub(crate) struct Asset {
    pub(crate) name: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
    /// Quoted, as in the header.
    pub(crate) etag: String,
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        asset("hansho.css", "text/css; charset=utf-8", include_bytes!("../assets/hansho.css")),
        asset("live.js", "text/javascript; charset=utf-8", include_bytes!("../assets/live.js")),
        asset("icon.svg", "image/svg+xml", include_bytes!("../assets/icon.svg")),
    ]
});

/// The asset of that name.
pub(crate) fn find(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

fn asset(name: &'static str, content_type: &'static str, body: &'static [u8]) -> Asset {
    let etag = format!("\"{}\"", HEXLOWER.encode(&Sha256::digest(body)));
    Asset { name, content_type, body: Bytes::from_static(body), etag }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_evaluates_nothing() {
        let script = find("live.js").expect("the script");
        let text = std::str::from_utf8(&script.body).expect("text");
        for word in ["eval(", "new Function", "document.write", "setTimeout(\"", "import("] {
            assert!(!text.contains(word), "{word}");
        }
    }
}
