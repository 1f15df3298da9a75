//! What is signed about a broadcast besides its rows, and composing each recipient's mail from
//! exactly that. The terms are stored with the frozen snapshot; the sender reads them from there,
//! so that a later change of configuration or draft cannot change what leaves.

use crate::{
    Dkim, DkimError, Fields, Footer, MessageId, NoticeError, NoticeTemplate, NoticeText, Questions,
    RenderError, SenderAddress, SenderAddressError, Unrenderable,
    mime::{Letterhead, Outgoing, render},
};
use domain::{
    BroadcastId, EmailAddress, Keyring, MemberId, Nature, Rate, RecipientToken, Timestamp, TokenKind,
};
use std::sync::Arc;

/// Everything that decides what leaves and how, apart from the recipients.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Terms {
    /// Actual, exercise or test.
    pub nature: Nature,
    /// The author's text, as a template.
    pub text: NoticeText,
    /// The questionnaire as stored, where there is one.
    pub questionnaire: Option<String>,
    /// `From`, as configured.
    pub from: String,
    /// Footer: who sends.
    pub organization: String,
    /// Footer: where to ask back.
    pub contact: String,
    /// Base of personal links and of the page that tells whether a notice is genuine.
    pub public_url: String,
    /// Where replies and bounces go.
    pub sink_domain: String,
    /// The rule the recipients were drawn by.
    pub audience: String,
    /// When the last notice has to be out, where a time was set.
    pub finish_by: Option<Timestamp>,
    /// Recipients allowed in 24 hours with one signature.
    pub daily_cap: u64,
    /// The relay's limits.
    pub rates: Vec<Rate>,
    /// Connections to the relay.
    pub connections: u32,
    /// Whether mail programs are offered the button of RFC 8058. Terms of before it was known
    /// offered none.
    #[serde(default)]
    pub one_click_unsubscribe: bool,
}

/// One recipient, as frozen.
#[derive(Debug, Clone, Copy)]
pub struct Recipient<'a> {
    /// Of which broadcast.
    pub broadcast: BroadcastId,
    /// Who.
    pub member: MemberId,
    /// Where to.
    pub address: &'a EmailAddress,
    /// Values of the merge fields, without `link`.
    pub fields: &'a Fields,
    /// Stable over all attempts.
    pub message_id: &'a MessageId,
}

/// From where to where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Envelope sender: bounces come back under this token.
    pub return_path: EmailAddress,
    /// The one recipient.
    pub to: EmailAddress,
}

/// A mail ready for its one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// As the relay hears it first.
    pub envelope: Envelope,
    /// Header and body: ASCII, CRLF.
    pub raw: String,
}

/// Why no mail can be composed.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// The text is not usable.
    #[error(transparent)]
    Text(#[from] NoticeError),
    /// `broadcast.from` is not a sender.
    #[error("the sender `broadcast.from` is not usable")]
    From(#[from] SenderAddressError),
    /// A field of this person has no value.
    #[error(transparent)]
    Unrenderable(#[from] Unrenderable),
    /// The sink's domain does not make an address.
    #[error("`sink.domain` does not make a reply address")]
    SinkDomain,
    /// The mail could not be written.
    #[error(transparent)]
    Mime(#[from] RenderError),
    /// The mail could not be signed.
    #[error(transparent)]
    Dkim(#[from] DkimError),
}

/// The terms, checked once, ready for any number of recipients.
#[derive(Debug, Clone)]
pub struct Composer {
    template: NoticeTemplate,
    from: SenderAddress,
    letterhead: Letterhead,
    public_url: String,
    sink_domain: String,
    one_click_unsubscribe: bool,
    keyring: Keyring,
    dkim: Option<Arc<Dkim>>,
}

impl Terms {
    /// The text with its template checked.
    ///
    /// # Errors
    /// [`NoticeError`].
    pub fn template(&self) -> Result<NoticeTemplate, NoticeError> {
        NoticeTemplate::new(self.nature, &self.text, self.footer(), self.questions())
    }

    /// Checks everything that is the same for all recipients.
    ///
    /// # Errors
    /// [`ComposeError::Text`], [`ComposeError::From`] or [`ComposeError::Mime`].
    pub fn composer(&self, keyring: Keyring) -> Result<Composer, ComposeError> {
        let from: SenderAddress = self.from.parse()?;
        Ok(Composer {
            template: self.template()?,
            letterhead: Letterhead::of_notices(&from)?,
            from,
            public_url: self.public_url.trim_end_matches('/').to_owned(),
            sink_domain: self.sink_domain.clone(),
            one_click_unsubscribe: self.one_click_unsubscribe,
            keyring,
            dkim: None,
        })
    }

    /// Whether the notice asks something on the person's own page.
    #[must_use]
    pub fn questions(&self) -> Questions {
        if self.questionnaire.is_some() { Questions::Asked } else { Questions::NotAsked }
    }

    fn footer(&self) -> Footer {
        Footer {
            organization: self.organization.clone(),
            contact: self.contact.clone(),
            verify_url: format!("{}/verify", self.public_url.trim_end_matches('/')),
        }
    }
}

impl Composer {
    /// With a signature on every letter.
    #[must_use]
    pub fn signed_by(self, dkim: Option<Arc<Dkim>>) -> Self {
        Self { dkim, ..self }
    }

    /// Every merge field the text uses.
    #[must_use]
    pub fn template(&self) -> &NoticeTemplate {
        &self.template
    }

    /// The sender, for Message-IDs.
    #[must_use]
    pub fn from(&self) -> &SenderAddress {
        &self.from
    }

    /// The text as this person reads it.
    ///
    /// # Errors
    /// [`Unrenderable`] names the field without a value: the person is held.
    pub fn text_for(
        &self,
        broadcast: BroadcastId,
        member: MemberId,
        fields: &Fields,
    ) -> Result<crate::BanneredText, Unrenderable> {
        let token = self.token(TokenKind::Answer, broadcast, member);
        let mut fields = fields.clone();
        fields.insert("link".to_owned(), format!("{}/r/{token}", self.public_url));
        self.template.render(&fields)
    }

    /// The envelope of a recipient's mail, which needs no text.
    ///
    /// # Errors
    /// [`ComposeError::SinkDomain`].
    pub fn envelope(
        &self,
        broadcast: BroadcastId,
        member: MemberId,
        to: &EmailAddress,
    ) -> Result<Envelope, ComposeError> {
        let return_path = self.sink_address(TokenKind::Bounce, broadcast, member)?;
        Ok(Envelope { return_path, to: to.clone() })
    }

    /// Header and body of a recipient's mail: ASCII, CRLF.
    ///
    /// # Errors
    /// [`ComposeError`].
    pub fn mail(&self, recipient: &Recipient<'_>, date: Timestamp) -> Result<String, ComposeError> {
        let text = self.text_for(recipient.broadcast, recipient.member, recipient.fields)?;
        let reply_to = self.sink_address(TokenKind::Reply, recipient.broadcast, recipient.member)?;
        let unsubscribe_url = self.one_click_unsubscribe.then(|| {
            let token = self.token(TokenKind::Unsubscribe, recipient.broadcast, recipient.member);
            format!("{}/u/{token}", self.public_url)
        });
        let raw = render(&Outgoing {
            letterhead: &self.letterhead,
            to: recipient.address,
            reply_to: &reply_to,
            message_id: recipient.message_id,
            date,
            unsubscribe_url: unsubscribe_url.as_deref(),
            text: &text,
        })?;
        Ok(Dkim::sign_by(self.dkim.as_deref(), raw)?)
    }

    fn sink_address(
        &self,
        kind: TokenKind,
        broadcast: BroadcastId,
        member: MemberId,
    ) -> Result<EmailAddress, ComposeError> {
        let token = self.token(kind, broadcast, member);
        EmailAddress::parse(&format!("{token}@{}", self.sink_domain)).map_err(|_| ComposeError::SinkDomain)
    }

    fn token(&self, kind: TokenKind, broadcast: BroadcastId, member: MemberId) -> String {
        self.keyring.write(RecipientToken { kind, broadcast, member })
    }
}
