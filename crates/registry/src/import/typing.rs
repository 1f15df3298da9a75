//! Domains that look like a slip of the finger. A finding and no more: the address is taken as it
//! stands, and a person asks the member.

use strsim::osa_distance;

/// Where members' mailboxes are.
const COMMON: [&str; 20] = [
    "gmail.com",
    "yahoo.co.jp",
    "ymail.ne.jp",
    "icloud.com",
    "hotmail.com",
    "hotmail.co.jp",
    "outlook.com",
    "outlook.jp",
    "docomo.ne.jp",
    "ezweb.ne.jp",
    "softbank.ne.jp",
    "i.softbank.jp",
    "vodafone.ne.jp",
    "ymobile.ne.jp",
    "yahoo.ne.jp",
    "rakuten.jp",
    "nifty.com",
    "biglobe.ne.jp",
    "so-net.ne.jp",
    "me.com",
];

/// Real ones beside them, and real ones that many take for them.
const REAL: [&str; 6] = ["ymail.com", "mail.com", "email.com", "gmx.com", "outlook.co", "ne.jp"];

/// Further off than one letter, and common all the same.
const HABITS: [(&str, &str); 8] = [
    ("docomo.co.jp", "docomo.ne.jp"),
    ("ezweb.co.jp", "ezweb.ne.jp"),
    ("softbank.co.jp", "softbank.ne.jp"),
    ("gmail.co.jp", "gmail.com"),
    ("gmail.jp", "gmail.com"),
    ("gmail.ne.jp", "gmail.com"),
    ("yahoo.com.jp", "yahoo.co.jp"),
    ("icloud.co.jp", "icloud.com"),
];

/// Below this, one letter makes another word.
const LETTERS_MIN: usize = 8;

/// The domain that was probably meant.
pub(super) fn probably_meant(domain: &str) -> Option<&'static str> {
    if let Some((_, meant)) = HABITS.iter().find(|(typed, _)| *typed == domain) {
        return Some(meant);
    }
    if domain.len() < LETTERS_MIN || COMMON.contains(&domain) || REAL.contains(&domain) {
        return None;
    }
    COMMON
        .into_iter()
        .filter(|known| known.len() >= LETTERS_MIN && known.len().abs_diff(domain.len()) <= 1)
        .find(|known| osa_distance(known, domain) == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_are_found_and_real_domains_left_alone() {
        for (typed, meant) in [
            ("gamil.com", "gmail.com"),
            ("gmail.con", "gmail.com"),
            ("gmai.com", "gmail.com"),
            ("docomo.ne.jo", "docomo.ne.jp"),
            ("docomo.co.jp", "docomo.ne.jp"),
            ("dokomo.ne.jp", "docomo.ne.jp"),
            ("yahoo.co.jo", "yahoo.co.jp"),
            ("ezweb.ne,jp", "ezweb.ne.jp"),
            ("iclould.com", "icloud.com"),
        ] {
            assert_eq!(probably_meant(typed), Some(meant), "{typed}");
        }
        for real in
            COMMON.into_iter().chain(REAL).chain(["example.jp", "hospital.example.jp", "au.com", "me.jp"])
        {
            assert_eq!(probably_meant(real), None, "{real}");
        }
    }
}
