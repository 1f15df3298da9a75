//! The room for picking replies up from a rented mailbox by IMAP.
//!
//! Some organizations cannot point a domain's MX at their own machine; their replies end in a
//! mailbox at a provider. What will stand here fetches each mail from it, hands it to the sink by
//! LMTP, and deletes it there only after the sink's 250, so that nothing is lost on the way in.
//! It is no part of `hansho-sinkd`, because it has to open connections.
//!
//! It is empty until the IMAP pick-up is built: today a reply reaches hansho by SMTP or LMTP only.
