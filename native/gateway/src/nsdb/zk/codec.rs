// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! ZooKeeper's wire format (jute): big-endian numbers, strings and buffers after a 32-bit length, -1 for none.
//!
//! A request is `length, xid, operation, body`; a reply `length, xid, zxid, error, body`. Replies come in the order of their requests;
//! events and ping replies come in between under xids of their own.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The xid of watch events, ping replies and replies to [`Request::SetWatches`].
pub const XID_EVENT: i32 = -1;
pub const XID_PING: i32 = -2;
pub const XID_SET_WATCHES: i32 = -8;

/// Largest frame that is accepted. MidoNet's own clients take 4 MiB (`zookeeper.buffer_size`); a table of half a million learned routes,
/// its largest, lists in 52 MB.
pub const MAX_FRAME: usize = 64 << 20;

/// The open access list that MidoNet uses for all of its nodes: all permissions to everyone.
const ACL_PERMISSIONS: i32 = 31;

/// Bytes that are not what ZooKeeper sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("reply is cut off or malformed in its {0}")]
pub struct Malformed(pub &'static str);

/// What is asked of a server. Paths are absolute.
#[derive(Clone, Copy, Debug)]
pub enum Request<'a> {
    Create {
        path: &'a str,
        data: &'a [u8],
        ephemeral: bool,
    },
    Delete {
        path: &'a str,
    },
    Exists {
        path: &'a str,
        watch: bool,
    },
    GetData {
        path: &'a str,
        watch: bool,
    },
    GetChildren {
        path: &'a str,
        watch: bool,
    },
    SetData {
        path: &'a str,
        data: &'a [u8],
    },
    /// Sets one-shot watches without reading; each fires at once if its node changed after the transaction `since`.
    SetWatches {
        since: i64,
        data: &'a [String],
        exist: &'a [String],
        child: &'a [String],
    },
    Ping,
    CloseSession,
}

impl Request<'_> {
    /// Appends the whole frame.
    pub fn encode(&self, xid: i32, out: &mut BytesMut) {
        let start = out.len();
        out.put_u32(0);
        out.put_i32(xid);
        match *self {
            Request::Create { path, data, ephemeral } => {
                out.put_i32(1);
                put_string(out, path);
                put_buffer(out, data);
                out.put_i32(1);
                out.put_i32(ACL_PERMISSIONS);
                put_string(out, "world");
                put_string(out, "anyone");
                out.put_i32(i32::from(ephemeral));
            }
            Request::Delete { path } => {
                out.put_i32(2);
                put_string(out, path);
                out.put_i32(-1);
            }
            Request::Exists { path, watch } => put_read(out, 3, path, watch),
            Request::GetData { path, watch } => put_read(out, 4, path, watch),
            Request::SetData { path, data } => {
                out.put_i32(5);
                put_string(out, path);
                put_buffer(out, data);
                out.put_i32(-1);
            }
            Request::GetChildren { path, watch } => put_read(out, 8, path, watch),
            Request::SetWatches { since, data, exist, child } => {
                out.put_i32(101);
                out.put_i64(since);
                for paths in [data, exist, child] {
                    out.put_i32(paths.len() as i32);
                    paths.iter().for_each(|path| put_string(out, path));
                }
            }
            Request::Ping => out.put_i32(11),
            Request::CloseSession => out.put_i32(-11),
        }
        let length = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
}

/// The first message of a connection. Session 0 with an empty password asks for a new session.
pub fn encode_connect(last_zxid: i64, timeout_ms: i32, session: i64, password: &[u8], out: &mut BytesMut) {
    out.put_u32(28 + password.len() as u32 + 1);
    out.put_i32(0);
    out.put_i64(last_zxid);
    out.put_i32(timeout_ms);
    out.put_i64(session);
    put_buffer(out, password);
    out.put_u8(0);
}

/// The server's answer to the first message. Session 0: the session that was asked for has expired.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Connected {
    pub timeout_ms: i32,
    pub session: i64,
    pub password: Vec<u8>,
}

pub fn decode_connected(mut body: Bytes) -> Result<Connected, Malformed> {
    let what = Malformed("greeting");
    get_i32(&mut body, what)?;
    let timeout_ms = get_i32(&mut body, what)?;
    let session = get_i64(&mut body, what)?;
    let password = get_buffer(&mut body, what)?.unwrap_or_default().to_vec();
    Ok(Connected {
        timeout_ms,
        session,
        password,
    })
}

/// Cuts one frame off a buffer, if it is whole.
pub fn take_frame(buffer: &mut BytesMut) -> Result<Option<Bytes>, Malformed> {
    let Some(length) = buffer.get(..4) else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
    if length > MAX_FRAME {
        return Err(Malformed("length"));
    }
    if buffer.len() < 4 + length {
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// The head of a reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    pub xid: i32,
    pub zxid: i64,
    pub code: Code,
}

pub fn decode_header(body: &mut Bytes) -> Result<Header, Malformed> {
    let what = Malformed("header");
    Ok(Header {
        xid: get_i32(body, what)?,
        zxid: get_i64(body, what)?,
        code: Code(get_i32(body, what)?),
    })
}

/// A server's verdict on a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Code(pub i32);

impl Code {
    pub const OK: Code = Code(0);
    pub const NO_NODE: Code = Code(-101);
    pub const NODE_EXISTS: Code = Code(-110);
    pub const SESSION_EXPIRED: Code = Code(-112);
    pub const SESSION_MOVED: Code = Code(-118);
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.0 {
            0 => "ok",
            -2 => "data inconsistency",
            -4 => "connection loss",
            -5 => "marshalling error",
            -6 => "unimplemented",
            -8 => "bad arguments",
            -101 => "no node",
            -102 => "no access",
            -103 => "bad version",
            -108 => "no children for ephemeral nodes",
            -110 => "node exists",
            -111 => "node has children",
            -112 => "session expired",
            -115 => "authentication failed",
            -118 => "session moved",
            -119 => "server is read-only",
            _ => return write!(f, "code {}", self.0),
        };
        f.write_str(name)
    }
}

/// What a one-shot watch saw.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EventKind {
    Created,
    Deleted,
    DataChanged,
    ChildrenChanged,
    /// About the session, or of a kind that came later than this client.
    Other,
}

pub fn decode_event(mut body: Bytes) -> Result<(EventKind, String), Malformed> {
    let what = Malformed("event");
    let kind = match get_i32(&mut body, what)? {
        1 => EventKind::Created,
        2 => EventKind::Deleted,
        3 => EventKind::DataChanged,
        4 => EventKind::ChildrenChanged,
        _ => EventKind::Other,
    };
    get_i32(&mut body, what)?;
    Ok((kind, get_string(&mut body, what)?))
}

/// What ZooKeeper knows of a node, as far as anybody here asks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stat {
    pub czxid: i64,
    pub mzxid: i64,
    pub ctime_ms: i64,
    pub mtime_ms: i64,
    pub version: i32,
    pub ephemeral_owner: i64,
    pub children: i32,
}

/// The data of a node and its stat.
pub fn decode_data(mut body: Bytes) -> Result<(Bytes, Stat), Malformed> {
    let what = Malformed("data");
    let data = get_buffer(&mut body, what)?.unwrap_or_default();
    Ok((data, decode_stat(body)?))
}

pub fn decode_stat(mut body: Bytes) -> Result<Stat, Malformed> {
    let what = Malformed("stat");
    let czxid = get_i64(&mut body, what)?;
    let mzxid = get_i64(&mut body, what)?;
    let ctime_ms = get_i64(&mut body, what)?;
    let mtime_ms = get_i64(&mut body, what)?;
    let version = get_i32(&mut body, what)?;
    get_i32(&mut body, what)?; // cversion
    get_i32(&mut body, what)?; // aversion
    let ephemeral_owner = get_i64(&mut body, what)?;
    get_i32(&mut body, what)?; // data length
    let children = get_i32(&mut body, what)?;
    Ok(Stat {
        czxid,
        mzxid,
        ctime_ms,
        mtime_ms,
        version,
        ephemeral_owner,
        children,
    })
}

/// Names of children, in the server's order, which is none.
pub fn decode_children(mut body: Bytes) -> Result<Vec<String>, Malformed> {
    let what = Malformed("children");
    let count = get_i32(&mut body, what)?.max(0) as usize;
    // Every name takes at least its length: a count can't claim more memory than there are bytes.
    if count > body.remaining() / 4 {
        return Err(what);
    }
    (0..count).map(|_| get_string(&mut body, what)).collect()
}

fn put_read(out: &mut BytesMut, operation: i32, path: &str, watch: bool) {
    out.put_i32(operation);
    put_string(out, path);
    out.put_u8(u8::from(watch));
}

fn put_string(out: &mut BytesMut, text: &str) {
    put_buffer(out, text.as_bytes());
}

fn put_buffer(out: &mut BytesMut, bytes: &[u8]) {
    out.put_i32(bytes.len() as i32);
    out.put_slice(bytes);
}

fn get_i32(body: &mut Bytes, what: Malformed) -> Result<i32, Malformed> {
    body.try_get_i32().map_err(|_| what)
}

fn get_i64(body: &mut Bytes, what: Malformed) -> Result<i64, Malformed> {
    body.try_get_i64().map_err(|_| what)
}

fn get_buffer(body: &mut Bytes, what: Malformed) -> Result<Option<Bytes>, Malformed> {
    let length = get_i32(body, what)?;
    if length < 0 {
        return Ok(None);
    }
    if body.remaining() < length as usize {
        return Err(what);
    }
    Ok(Some(body.split_to(length as usize)))
}

fn get_string(body: &mut Bytes, what: Malformed) -> Result<String, Malformed> {
    let bytes = get_buffer(body, what)?.unwrap_or_default();
    String::from_utf8(bytes.into()).map_err(|_| what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_have_the_bytes_that_servers_expect() {
        let mut out = BytesMut::new();
        Request::GetData { path: "/a", watch: true }.encode(7, &mut out);
        assert_eq!(&out[..], [0, 0, 0, 15, 0, 0, 0, 7, 0, 0, 0, 4, 0, 0, 0, 2, b'/', b'a', 1]);
        out.clear();
        encode_connect(9, 30_000, 5, &[1; 16], &mut out);
        assert_eq!(out.len(), 4 + 45);
        assert_eq!(out[..4], 45u32.to_be_bytes());
    }

    #[test]
    fn a_count_of_children_cannot_claim_memory() {
        let mut body = BytesMut::new();
        body.put_i32(i32::MAX);
        body.put_i32(0);
        assert_eq!(decode_children(body.freeze()), Err(Malformed("children")));
    }

    #[test]
    fn a_frame_above_the_bound_is_refused_before_it_arrives() {
        let mut buffer = BytesMut::new();
        buffer.put_u32(u32::MAX);
        assert!(take_frame(&mut buffer).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_break_a_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let body = Bytes::from(bytes.clone());
            let _ = decode_connected(body.clone());
            let _ = decode_header(&mut body.clone());
            let _ = decode_event(body.clone());
            let _ = decode_data(body.clone());
            let _ = decode_children(body);
            let _ = take_frame(&mut BytesMut::from(&bytes[..]));
        }

        #[test]
        fn children_survive_the_wire(names in proptest::collection::vec("[a-z0-9,:;.-]{0,40}", 0..50)) {
            let mut body = BytesMut::new();
            body.put_i32(names.len() as i32);
            names.iter().for_each(|name| put_string(&mut body, name));
            prop_assert_eq!(decode_children(body.freeze()).unwrap(), names);
        }
    }
}
