// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use crate::query::Scanned;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{operation}")]
    Io {
        operation: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{operation} in the catalogue")]
    Catalog {
        operation: &'static str,
        #[source]
        source: rusqlite::Error,
    },
    #[error("{operation} in the column store")]
    Columns {
        operation: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The rows or the question break a stated bound; asking again won't help.
    #[error("invalid request: {0}")]
    Invalid(String),
    #[error("the question reached its budget of {what} after {} rows and {} bytes", scanned.rows, scanned.bytes)]
    OverBudget { what: &'static str, scanned: Scanned },
    /// Too many questions of the site run or wait; asking again later may help.
    #[error("other questions of the site are being answered; waited for {} ms", waited.as_millis())]
    Busy { waited: std::time::Duration },
    #[error("{0} is taken")]
    Taken(&'static str),
    #[error("no such {0}")]
    Missing(&'static str),
    #[error("{path} was written by a newer version (format {found}, this one knows {known})")]
    Newer { path: String, found: u32, known: u32 },
    #[error("{path} is in use by another process")]
    Locked { path: String },
    #[error("{path} is damaged: {detail}")]
    Damaged { path: String, detail: String },
    /// It ends, or a write to the commit log failed and the log could not be mended yet: asking again later may help.
    #[error("the store can't be written now")]
    Shut,
}

impl StoreError {
    pub(crate) fn io(operation: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io {
            operation: operation.into(),
            source,
        }
    }

    pub(crate) fn columns(operation: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Columns {
            operation,
            source: source.into(),
        }
    }

    pub(crate) fn catalog(operation: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Catalog { operation, source }
    }
}
