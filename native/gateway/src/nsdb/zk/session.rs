// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::time::Duration;

use bytes::Bytes;

use super::{
    codec::{self, Code, EventKind, Malformed, Request, Stat},
    endpoints::Endpoints,
    link::{Incoming, Link, LinkError, SessionKey},
};

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ZkError {
    #[error("reach ZooKeeper")]
    Link(#[from] LinkError),
    #[error("{operation} {path}: {code}")]
    Node { operation: &'static str, path: String, code: Code },
}

impl From<Malformed> for ZkError {
    fn from(malformed: Malformed) -> Self {
        ZkError::Link(malformed.into())
    }
}

/// A session that asks one thing after the other. Paths are absolute; those of the connect string are put in front.
#[derive(Debug)]
pub struct Session {
    link: Link,
    chroot: String,
    /// Events that came while a reply was awaited; at most one for each watch that was set.
    events: Vec<(EventKind, String)>,
}

impl Session {
    /// Opens a new session.
    pub async fn open(endpoints: &Endpoints, session_timeout: Duration) -> Result<Session, ZkError> {
        Session::resume(endpoints, &SessionKey::default(), session_timeout).await
    }

    /// Goes on with a session whose connection was lost, without its watches; a new one for the default key. [`LinkError::Expired`] says
    /// that the session is gone, and its ephemeral nodes with it.
    pub async fn resume(endpoints: &Endpoints, key: &SessionKey, session_timeout: Duration) -> Result<Session, ZkError> {
        let link = Link::open(endpoints, key, session_timeout, 0).await?;
        Ok(Session {
            link,
            chroot: endpoints.chroot.clone(),
            events: Vec::new(),
        })
    }

    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Creates a node; `false` when it is there already.
    pub async fn create(&mut self, path: &str, data: &[u8], ephemeral: bool) -> Result<bool, ZkError> {
        let full = self.full(path);
        let reply = self
            .ask(&Request::Create {
                path: &full,
                data,
                ephemeral,
            })
            .await?;
        match reply {
            (Code::OK, _) => Ok(true),
            (Code::NODE_EXISTS, _) => Ok(false),
            (code, _) => Err(ZkError::Node {
                operation: "create",
                path: full,
                code,
            }),
        }
    }

    /// Creates the persistent nodes down to this path that are missing.
    pub async fn create_all(&mut self, path: &str) -> Result<(), ZkError> {
        for (slash, _) in path.match_indices('/').skip(1).chain([(path.len(), "")]) {
            self.create(&path[..slash], &[], false).await?;
        }
        Ok(())
    }

    /// Deletes a node; `false` when it was gone already.
    pub async fn delete(&mut self, path: &str) -> Result<bool, ZkError> {
        let full = self.full(path);
        match self.ask(&Request::Delete { path: &full }).await? {
            (Code::OK, _) => Ok(true),
            (Code::NO_NODE, _) => Ok(false),
            (code, _) => Err(ZkError::Node {
                operation: "delete",
                path: full,
                code,
            }),
        }
    }

    /// Sets the data of a node; `false` when there is no such node.
    pub async fn set(&mut self, path: &str, data: &[u8]) -> Result<bool, ZkError> {
        let full = self.full(path);
        match self.ask(&Request::SetData { path: &full, data }).await? {
            (Code::OK, _) => Ok(true),
            (Code::NO_NODE, _) => Ok(false),
            (code, _) => Err(ZkError::Node {
                operation: "set",
                path: full,
                code,
            }),
        }
    }

    /// The data of a node.
    pub async fn get(&mut self, path: &str) -> Result<Option<(Bytes, Stat)>, ZkError> {
        let full = self.full(path);
        match self.ask(&Request::GetData { path: &full, watch: false }).await? {
            (Code::OK, body) => Ok(Some(codec::decode_data(body)?)),
            (Code::NO_NODE, _) => Ok(None),
            (code, _) => Err(ZkError::Node {
                operation: "read",
                path: full,
                code,
            }),
        }
    }

    /// The names of a node's children.
    pub async fn children(&mut self, path: &str) -> Result<Option<Vec<String>>, ZkError> {
        let full = self.full(path);
        match self.ask(&Request::GetChildren { path: &full, watch: false }).await? {
            (Code::OK, body) => Ok(Some(codec::decode_children(body)?)),
            (Code::NO_NODE, _) => Ok(None),
            (code, _) => Err(ZkError::Node {
                operation: "list",
                path: full,
                code,
            }),
        }
    }

    /// Whether a node is there; sets a watch that fires at its next creation, change or deletion.
    pub async fn watch(&mut self, path: &str) -> Result<Option<Stat>, ZkError> {
        let full = self.full(path);
        match self.ask(&Request::Exists { path: &full, watch: true }).await? {
            (Code::OK, body) => Ok(Some(codec::decode_stat(body)?)),
            (Code::NO_NODE, _) => Ok(None),
            (code, _) => Err(ZkError::Node {
                operation: "watch",
                path: full,
                code,
            }),
        }
    }

    /// Waits for the next event of a watch and keeps the session alive meanwhile. Safe to drop and call again.
    pub async fn event(&mut self) -> Result<(EventKind, String), ZkError> {
        loop {
            if !self.events.is_empty() {
                return Ok(self.events.remove(0));
            }
            if let Incoming::Event { kind, path } = self.link.next(true).await? {
                return Ok((kind, path));
            }
        }
    }

    /// Ends the session and what lives with it; waits at most `patience`.
    pub async fn close(self, patience: Duration) {
        self.link.close(patience).await;
    }

    fn full(&self, path: &str) -> String {
        format!("{}{path}", self.chroot)
    }

    async fn ask(&mut self, request: &Request<'_>) -> Result<(Code, Bytes), ZkError> {
        let asked = self.link.send(request);
        loop {
            match self.link.next(true).await? {
                Incoming::Reply { xid, code, body } if xid == asked => return Ok((code, body)),
                // The reply to a request whose future was dropped.
                Incoming::Reply { .. } | Incoming::WatchesSet { .. } => {}
                Incoming::Event { kind, path } => self.events.push((kind, path)),
            }
        }
    }
}
