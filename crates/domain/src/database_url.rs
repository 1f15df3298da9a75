//! Where databases stand: paths in a configuration are relative to its folder.

use std::path::Path;

/// A SQLite URL with its path made relative to `folder`; other URLs unchanged.
#[must_use]
pub fn database_url_in(url: &str, folder: &Path) -> String {
    match sqlite_path(url) {
        Some((path, options)) => format!("sqlite://{}{options}", folder.join(path).display()),
        None => url.to_owned(),
    }
}

/// Where replies are kept unless said otherwise: `replies.db` beside a SQLite file, the same
/// database on a server.
#[must_use]
pub fn replies_url_beside(url: &str) -> String {
    match sqlite_path(url) {
        Some((path, _)) => format!("sqlite://{}", Path::new(path).with_file_name("replies.db").display()),
        None => url.to_owned(),
    }
}

/// Path and options (`?…`, or nothing) of a SQLite URL; none for other databases.
#[must_use]
pub fn sqlite_path(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("sqlite:")?;
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    Some(rest.split_at(rest.find('?').unwrap_or(rest.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_and_the_reply_database_stand_beside_the_configuration() {
        let core = database_url_in("sqlite://hansho.db", Path::new("/etc/hansho"));
        assert_eq!(core, "sqlite:///etc/hansho/hansho.db");
        assert_eq!(replies_url_beside(&core), "sqlite:///etc/hansho/replies.db");
        assert_eq!(
            database_url_in("sqlite:///var/h.db?mode=rwc", Path::new("/etc")),
            "sqlite:///var/h.db?mode=rwc"
        );
        assert_eq!(replies_url_beside("postgres://h/d"), "postgres://h/d");
    }
}
