//! The few keys of `hansho.toml` that the sink needs; all others are left to `hansho`.
//!
//! Every key can be set by environment (`HANSHO_SINK__LISTEN`). Relative paths are relative to
//! the folder of the configuration file.

use anyhow::{Context, bail, ensure};
use domain::{database_url_in, replies_url_beside};
use figment::{
    Figment,
    providers::{Env, Format, Toml},
};
use serde::Deserialize;
use sink::{Protocol, TlsFiles};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// What the executable runs with; all paths are resolved.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) domain: String,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) replies_url: String,
    pub(crate) key_file: PathBuf,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    site: Site,
    #[serde(default)]
    database: Database,
    #[serde(default)]
    sink: SinkSection,
}

#[derive(Deserialize, Default)]
struct Site {
    key_file: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
struct Database {
    url: Option<Secret>,
    replies_url: Option<Secret>,
}

#[derive(Deserialize, Default)]
struct SinkSection {
    listen: Option<SocketAddr>,
    #[serde(default)]
    protocol: ProtocolWord,
    domain: Option<String>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum ProtocolWord {
    #[default]
    Smtp,
    Lmtp,
}

/// A value, or a file that holds it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Secret {
    Text(String),
    File { file: PathBuf },
}

impl Config {
    /// Reads the file and the environment.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        ensure!(
            path.is_file(),
            "the configuration {} does not exist; name it with --config or $HANSHO_CONFIG, or make one with `hansho init`",
            path.display()
        );
        let environment = Env::prefixed("HANSHO_").ignore(&["config", "token"]).split("__");
        let file: File = Figment::from(Toml::file_exact(path))
            .merge(environment)
            .extract()
            .with_context(|| format!("the configuration {} is not usable", path.display()))?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        Self::resolve(file, folder)
    }

    fn resolve(file: File, folder: &Path) -> anyhow::Result<Self> {
        let Some(domain) = file.sink.domain.filter(|domain| !domain.is_empty()) else {
            bail!("`sink.domain` is not set: the domain of the reply addresses, e.g. reply.example.jp");
        };
        let Some(key_file) = file.site.key_file else {
            bail!("`site.key_file` is not set: the file with the token keys that `hansho init` wrote");
        };
        let tls = TlsFiles::configured(folder, file.sink.certificate, file.sink.key)?;
        let replies_url = match (file.database.replies_url, file.database.url) {
            (Some(url), _) => database_url_in(&url.read(folder)?, folder),
            (None, Some(url)) => replies_url_beside(&database_url_in(&url.read(folder)?, folder)),
            (None, None) => bail!("neither `database.replies_url` nor `database.url` is set"),
        };
        Ok(Self {
            listen: file.sink.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 2525))),
            protocol: match file.sink.protocol {
                ProtocolWord::Smtp => Protocol::Smtp,
                ProtocolWord::Lmtp => Protocol::Lmtp,
            },
            domain,
            tls,
            replies_url,
            key_file: folder.join(key_file),
        })
    }
}

impl Secret {
    fn read(self, folder: &Path) -> anyhow::Result<String> {
        match self {
            Self::Text(text) => Ok(text),
            Self::File { file } => {
                let path = folder.join(file);
                let text = std::fs::read_to_string(&path)
                    .with_context(|| format!("the file {} cannot be read", path.display()))?;
                Ok(text.trim().to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(toml: &str) -> anyhow::Result<Config> {
        let file = Figment::from(Toml::string(toml)).extract()?;
        Config::resolve(file, Path::new("/etc/hansho"))
    }

    #[test]
    fn relative_paths_and_the_reply_database_stand_beside_the_configuration() {
        let config = load(
            "[site]\nkey_file = \"hansho.key\"\norganization = \"x\"\n[database]\nurl = \"sqlite://hansho.db\"\n\
             [sink]\ndomain = \"reply.example.jp\"\n[relay]\nurl = \"smtp://x:25\"\n",
        )
        .expect("a configuration");
        assert_eq!(config.replies_url, "sqlite:///etc/hansho/replies.db");
        assert_eq!(config.key_file, Path::new("/etc/hansho/hansho.key"));
        assert_eq!(config.listen.to_string(), "127.0.0.1:2525");
        assert_eq!(config.protocol, Protocol::Smtp);
    }

    #[test]
    fn a_url_of_its_own_goes_first_and_a_server_is_shared() {
        let head = "[site]\nkey_file = \"/k\"\n[sink]\ndomain = \"r.jp\"\nprotocol = \"lmtp\"\n[database]\n";
        let shared = load(&format!("{head}url = \"postgres://h/d\"\n")).expect("a configuration");
        assert_eq!((shared.replies_url.as_str(), shared.protocol), ("postgres://h/d", Protocol::Lmtp));
        let own =
            load(&format!("{head}url = \"postgres://h/d\"\nreplies_url = \"sqlite:///var/r.db?mode=rwc\"\n"));
        assert_eq!(own.expect("a configuration").replies_url, "sqlite:///var/r.db?mode=rwc");
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = load("[sink]\n").expect_err("no domain").to_string();
        assert!(error.contains("sink.domain"), "{error}");
        let error = load("[sink]\ndomain = \"r.jp\"\n").expect_err("no key").to_string();
        assert!(error.contains("site.key_file"), "{error}");
        let half = "[site]\nkey_file = \"/k\"\n[sink]\ndomain = \"r.jp\"\ncertificate = \"c.pem\"\n";
        let error = load(half).expect_err("half a pair").to_string();
        assert!(error.contains("sink.key"), "{error}");
    }
}
