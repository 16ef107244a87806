// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Values of state keys. A key that exists is the statement itself for `alive` and `active`: its node vanishes with the writer's session.

use std::net::{IpAddr, Ipv4Addr};

use uuid::Uuid;

use crate::model::{Object, decode_object, ip_message, uuid_message};
use crate::text::{self, Message, TextError, Value};

/// Keys of the state that MidoNet writes, with the class of the objects that they belong to.
pub const KEYS: &[(&str, &str)] = &[
    ("Host", "alive"),
    ("Host", "host"),
    ("Host", "container"),
    ("Port", "active"),
    ("Port", "bgp"),
    ("Port", "routes"),
    ("ServiceContainer", "status"),
    ("PoolMember", "status"),
    ("TunnelZone", "flooding_proxy"),
    ("Vtep", "config"),
    ("Vtep", "connection_state"),
    ("Vtep", "vxgw_manager"),
];

/// Whether the values of a key are the names of its children.
pub fn has_many_values(class: &str, key: &str) -> bool {
    (class, key) == ("Port", "routes")
}

/// Why a state value can't be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StateError {
    #[error("read state as text format")]
    Text(#[source] TextError),
    #[error("state value has no valid {field}")]
    Field { field: &'static str },
}

/// Value of the key `host` of a Host: what the agent sees of its machine. It goes with the agent's session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostState {
    pub host: Option<Uuid>,
    pub interfaces: Vec<Interface>,
}

/// An interface of a host.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Interface {
    pub name: String,
    /// `PHYSICAL`, `VIRTUAL`, `TUNNEL`, `UNKNOWN` or one of a later release.
    pub kind: Option<String>,
    pub mac: Option<String>,
    pub addresses: Vec<IpAddr>,
    pub up: bool,
    pub has_link: bool,
    pub mtu: Option<i32>,
    /// `PHYSICAL_EP`, `VM_EP`, …
    pub endpoint: Option<String>,
    /// `NET_DEV_DP`, `VXLAN_DP`, …
    pub port_type: Option<String>,
    pub ifindex: Option<i32>,
}

impl HostState {
    pub fn parse(bytes: &[u8]) -> Result<HostState, StateError> {
        let object = decode_object("HostState", bytes).map_err(StateError::Text)?;
        let interfaces = object.messages("interfaces");
        let interfaces = interfaces.iter().map(|view| Interface {
            name: view.str("name").unwrap_or_default().into_owned(),
            kind: view.word("type").map(Into::into),
            mac: view.str("mac").map(Into::into),
            addresses: view.ips("addresses"),
            up: view.bool("up").unwrap_or(false),
            has_link: view.bool("has_link").unwrap_or(false),
            mtu: view.i64("mtu").and_then(|mtu| mtu.try_into().ok()),
            endpoint: view.word("endpoint").map(Into::into),
            port_type: view.word("port_type").map(Into::into),
            ifindex: view.i64("ifindex").and_then(|index| index.try_into().ok()),
        });
        Ok(HostState {
            host: object.uuid("host_id"),
            interfaces: interfaces.collect(),
        })
    }

    /// The value's text as an agent writes it.
    pub fn to_text(&self) -> String {
        let mut message = Message::default();
        if let Some(host) = self.host {
            message.push("host_id", uuid_message(host));
        }
        for interface in &self.interfaces {
            message.push("interfaces", interface.to_message());
        }
        text::write(&message)
    }
}

impl Interface {
    fn to_message(&self) -> Message {
        let mut message = Message::default().with("name", self.name.as_str());
        let word = |message: &mut Message, name: &str, word: &Option<String>| {
            if let Some(word) = word {
                message.push(name, Value::Word(word.clone()));
            }
        };
        word(&mut message, "type", &self.kind);
        if let Some(mac) = &self.mac {
            message.push("mac", mac.as_str());
        }
        for address in &self.addresses {
            message.push("addresses", ip_message(*address));
        }
        message.push("up", self.up);
        message.push("has_link", self.has_link);
        if let Some(mtu) = self.mtu {
            message.push("mtu", mtu);
        }
        word(&mut message, "endpoint", &self.endpoint);
        word(&mut message, "port_type", &self.port_type);
        if let Some(ifindex) = self.ifindex {
            message.push("ifindex", ifindex);
        }
        message
    }
}

/// Value of the key `active` of a Port.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PortState {
    pub host: Uuid,
    /// Missing in the form of old agents.
    pub tunnel_key: Option<u64>,
}

impl PortState {
    /// Reads both forms: the text format, and the bare host id of old agents.
    pub fn parse(bytes: &[u8]) -> Result<PortState, StateError> {
        let missing = StateError::Field { field: "host_id" };
        if let Ok(text) = std::str::from_utf8(bytes)
            && text.trim().len() == 36
            && let Ok(host) = text.trim().parse()
        {
            return Ok(PortState { host, tunnel_key: None });
        }
        let object = decode_object("PortState", bytes).map_err(StateError::Text)?;
        Ok(PortState {
            host: object.uuid("host_id").ok_or(missing)?,
            tunnel_key: object.u64("tunnel_key"),
        })
    }

    /// The value's text as an agent writes it.
    pub fn to_text(&self) -> String {
        let mut message = Message::default().with("host_id", uuid_message(self.host));
        if let Some(key) = self.tunnel_key {
            message.push("tunnel_key", key);
        }
        text::write(&message)
    }
}

/// Value of the key `container` of a Host: how its container service is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ContainerServiceStatus {
    pub weight: i32,
    /// −1 is unlimited.
    pub quota: i32,
    /// Containers that run.
    pub count: i32,
}

impl ContainerServiceStatus {
    pub fn parse(bytes: &[u8]) -> Result<ContainerServiceStatus, StateError> {
        let object = decode_object("ContainerServiceStatus", bytes).map_err(StateError::Text)?;
        let number = |field| {
            object
                .i64(field)
                .and_then(|value| value.try_into().ok())
                .ok_or(StateError::Field { field })
        };
        Ok(ContainerServiceStatus {
            weight: number("weight")?,
            quota: number("quota")?,
            count: number("count")?,
        })
    }
}

/// Value of the key `status` of a ServiceContainer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ContainerStatus {
    /// `STARTING`, `RUNNING`, `STOPPING`, `STOPPED`, `ERROR` or one of a later release.
    pub code: Option<String>,
    pub message: Option<String>,
    pub host: Option<Uuid>,
    pub namespace_name: Option<String>,
    pub interface_name: Option<String>,
}

impl ContainerStatus {
    pub fn parse(bytes: &[u8]) -> Result<ContainerStatus, StateError> {
        let object = decode_object("ContainerStatus", bytes).map_err(StateError::Text)?;
        let string = |field: &str| object.str(field).map(Into::into);
        Ok(ContainerStatus {
            code: object.word("status_code").map(Into::into),
            message: string("status_message"),
            host: object.uuid("host_id"),
            namespace_name: string("namespace_name"),
            interface_name: string("interface_name"),
        })
    }
}

/// Value of the key `flooding_proxy` of a TunnelZone: `<host id>#<IPv4>`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FloodingProxy {
    pub host: Uuid,
    pub address: Ipv4Addr,
}

impl FloodingProxy {
    pub fn parse(bytes: &[u8]) -> Result<FloodingProxy, StateError> {
        let text = std::str::from_utf8(bytes).map_err(|_| StateError::Field { field: "host id" })?;
        let (host, address) = text.split_once('#').ok_or(StateError::Field { field: "'#'" })?;
        Ok(FloodingProxy {
            host: host.parse().map_err(|_| StateError::Field { field: "host id" })?,
            address: address.parse().map_err(|_| StateError::Field { field: "address" })?,
        })
    }
}

/// Value of the key `config` of a Vtep.
pub fn parse_vtep_configuration(bytes: &[u8]) -> Result<Object, StateError> {
    decode_object("VtepConfiguration", bytes).map_err(StateError::Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_port_state() {
        let host: Uuid = "aa000000-0000-4000-8000-000000000001".parse().unwrap();
        assert_eq!(
            PortState::parse(host.to_string().as_bytes()).unwrap(),
            PortState { host, tunnel_key: None }
        );
        let state = PortState {
            host,
            tunnel_key: Some(u64::MAX),
        };
        assert_eq!(PortState::parse(state.to_text().as_bytes()).unwrap(), state);
        assert!(matches!(PortState::parse(b"tunnel_key: 5"), Err(StateError::Field { field: "host_id" })));
        assert!(matches!(
            PortState::parse(b"aa000000-0000-4000-8000-00000000000x"),
            Err(StateError::Text(_))
        ));
    }

    #[test]
    fn containers() {
        let status = ContainerServiceStatus::parse(b"count: 3").unwrap();
        assert_eq!(
            status,
            ContainerServiceStatus {
                weight: 1,
                quota: -1,
                count: 3
            }
        );
        assert!(matches!(
            ContainerServiceStatus::parse(b"count: x"),
            Err(StateError::Field { field: "count" })
        ));
        let status = ContainerStatus::parse(b"status_code: RUNNING\nnamespace_name: \"vpn-1\"\nnew: 5").unwrap();
        assert_eq!(status.code.as_deref(), Some("RUNNING"));
        assert_eq!(status.namespace_name.as_deref(), Some("vpn-1"));
    }

    #[test]
    fn flooding_proxies() {
        let proxy = FloodingProxy::parse(b"aa000000-0000-4000-8000-000000000001#172.16.0.1").unwrap();
        assert_eq!(proxy.address, Ipv4Addr::new(172, 16, 0, 1));
        for (text, field) in [
            ("x#1.2.3.4", "host id"),
            ("1.2.3.4", "'#'"),
            ("aa000000-0000-4000-8000-000000000001#", "address"),
        ] {
            assert_eq!(FloodingProxy::parse(text.as_bytes()), Err(StateError::Field { field }));
        }
    }

    #[test]
    fn scoped_addresses_of_interfaces_are_read() {
        let state = HostState::parse(b"interfaces { name: \"eth0\" addresses { version: V6 address: \"fe80:0:0:0:0:0:0:1%eth0\" } }").unwrap();
        assert_eq!(state.interfaces[0].addresses, ["fe80::1".parse::<IpAddr>().unwrap()]);
        assert!(!state.interfaces[0].up);
    }
}
