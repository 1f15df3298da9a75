//! A file that a form brings along: `multipart/form-data`, onto the disk, never into memory.
//!
//! # Security
//! The form's token is its first field; without it nothing is read. Text fields
//! are small, the file is bounded, and whoever sends nothing for a while is not waited for. The file
//! has no name in the file system: it is gone with the request, whatever happens.

use super::form::Form;
use crate::handlers::Fault;
use bytes::Bytes;
use futures_util::Stream;
use multer::{Constraints, Field, Multipart, SizeLimit};
use std::{fs::File, sync::Arc, time::Duration};
use tokio::{io::AsyncWriteExt, time};
use warp::http::{HeaderMap, header};

/// A roster of a million members.
const FILE_OCTETS_MAX: u64 = 260 * 1024 * 1024;
/// All other fields are words.
const FIELD_OCTETS_MAX: u64 = 16 * 1024;
/// A line that carries nothing for so long is dead.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Of a form: the token, how to take the file, and the file.
const FIELDS_MAX: usize = 10;
/// A roster over a slow line.
const WHOLE_MAX: Duration = Duration::from_secs(15 * 60);
/// Of the form that brings a file.
const FILE_FIELD: &str = "file";

/// A file that was received whole.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    /// As the browser calls it; for people to read.
    pub(crate) name: String,
    pub(crate) file: Arc<File>,
}

/// Receives a form with a file, whose token `is_token` recognises.
pub(super) async fn receive_file(
    headers: &HeaderMap,
    body: impl Stream<Item = Result<Bytes, warp::Error>> + Send,
    is_token: impl Fn(&str) -> bool,
) -> Result<(Form, Option<Upload>), Fault> {
    time::timeout(WHOLE_MAX, receive(headers, body, is_token)).await.map_err(|_| Fault::Slow)?
}

async fn receive(
    headers: &HeaderMap,
    body: impl Stream<Item = Result<Bytes, warp::Error>> + Send,
    is_token: impl Fn(&str) -> bool,
) -> Result<(Form, Option<Upload>), Fault> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let boundary = multer::parse_boundary(kind).map_err(|_| Fault::Foreign)?;
    let sizes = SizeLimit::new()
        .whole_stream(FILE_OCTETS_MAX + 1024 * 1024)
        .for_field(FILE_FIELD, FILE_OCTETS_MAX)
        .per_field(FIELD_OCTETS_MAX);
    let mut parts = Multipart::with_constraints(body, boundary, Constraints::new().size_limit(sizes));
    let (mut fields, mut upload, mut known) = (Vec::new(), None, false);
    while let Some(field) = patiently(parts.next_field()).await? {
        let name = field.name().unwrap_or_default().to_owned();
        if !known && name != "form_token" {
            return Err(Fault::Foreign);
        }
        if fields.len() == FIELDS_MAX || upload.is_some() {
            return Err(Fault::BadForm);
        }
        if name == FILE_FIELD {
            upload = Some(store(field).await?);
            continue;
        }
        let text = patiently(field.text()).await?;
        known |= is_token(&text);
        fields.push((name, text));
    }
    if known { Ok((Form::received(fields), upload)) } else { Err(Fault::Foreign) }
}

async fn store(mut field: Field<'_>) -> Result<Upload, Fault> {
    let internal = |error: std::io::Error| Fault::Internal(Box::new(error));
    let name = field.file_name().unwrap_or_default().to_owned();
    let mut file = tokio::fs::File::from_std(tempfile::tempfile().map_err(internal)?);
    while let Some(piece) = patiently(field.chunk()).await? {
        file.write_all(&piece).await.map_err(internal)?;
    }
    file.flush().await.map_err(internal)?;
    Ok(Upload { name, file: Arc::new(file.into_std().await) })
}

async fn patiently<T>(next: impl Future<Output = Result<T, multer::Error>>) -> Result<T, Fault> {
    match time::timeout(SILENCE_MAX, next).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(multer::Error::FieldSizeExceeded { .. } | multer::Error::StreamSizeExceeded { .. })) => {
            Err(Fault::TooLarge)
        }
        Ok(Err(_)) => Err(Fault::BadForm),
        Err(_) => Err(Fault::Slow),
    }
}
