// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! An object of the simulated NSDB: its fields in the order in which MidoNet prints them.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr},
    sync::LazyLock,
};

use midonet::model;
use uuid::Uuid;

/// Classes that the simulator makes. The name is that of the znode.
macro_rules! kinds {
    ($($name:ident),+ $(,)?) => {
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Kind { $($name),+ }

        impl Kind {
            pub const ALL: &'static [Kind] = &[$(Kind::$name),+];

            pub fn name(self) -> &'static str {
                match self { $(Kind::$name => stringify!($name)),+ }
            }
        }
    };
}

kinds! {
    AgentMembership, BgpNetwork, BgpPeer, Chain, Dhcp, FloatingIp, HealthMonitor, Host, IPAddrGroup, LoadBalancer, Mirror, Network,
    NeutronConfig, NeutronLoadBalancerPool, NeutronLoadBalancerPoolMember, NeutronNetwork, NeutronPort, NeutronRouter, NeutronSubnet,
    NeutronVIP, Pool, PoolMember, Port, PortGroup, QosPolicy, QosRuleBandwidthLimit, QosRuleDscp, Route, Router, Rule, SecurityGroup,
    SecurityGroupRule, TunnelZone, Vip, Vtep,
}

/// A value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Val {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Str(String),
    /// Name of an enum's value.
    Enum(&'static str),
    Id(Uuid),
    Ip(IpAddr),
    Subnet(IpAddr, u8),
    Msg(Fields),
}

/// Fields of a message, sorted by field number; entries of a repeated field stay in the order of their insertion.
pub type Fields = Vec<(&'static str, Val)>;

/// An object.
#[derive(Clone, Debug, PartialEq)]
pub struct Obj {
    pub kind: Kind,
    pub id: Uuid,
    fields: Vec<(u32, &'static str, Val)>,
}

impl Obj {
    pub fn new(kind: Kind, id: Uuid) -> Obj {
        Obj {
            kind,
            id,
            fields: Vec::with_capacity(12),
        }
        .with("id", id)
    }

    /// Sets a field, or adds an entry to a repeated one.
    pub fn with(mut self, name: &'static str, value: impl Into<Val>) -> Obj {
        self.add(name, value);
        self
    }

    pub fn with_all<V: Into<Val>>(mut self, name: &'static str, values: impl IntoIterator<Item = V>) -> Obj {
        values.into_iter().for_each(|value| self.add(name, value));
        self
    }

    pub fn add(&mut self, name: &'static str, value: impl Into<Val>) {
        let number = field_number(self.kind, name);
        let at = self.fields.partition_point(|field| field.0 <= number);
        self.fields.insert(at, (number, name, value.into()));
    }

    /// Replaces all entries of a field by one.
    pub fn set(&mut self, name: &'static str, value: impl Into<Val>) {
        self.clear(name);
        self.add(name, value);
    }

    pub fn clear(&mut self, name: &str) {
        self.fields.retain(|field| field.1 != name);
    }

    /// Inserts an entry of a repeated field at this position of the entries.
    pub fn insert(&mut self, name: &'static str, position: usize, value: impl Into<Val>) {
        let number = field_number(self.kind, name);
        let at = self.fields.partition_point(|field| field.0 < number) + position;
        self.fields.insert(at, (number, name, value.into()));
    }

    /// Takes the first entry with this value out of a field.
    pub fn remove(&mut self, name: &str, value: &Val) {
        if let Some(at) = self.fields.iter().position(|field| field.1 == name && field.2 == *value) {
            self.fields.remove(at);
        }
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Val> {
        self.fields.iter().filter(move |field| field.1 == name).map(|field| &field.2)
    }

    pub fn get(&self, name: &str) -> Option<&Val> {
        self.fields.iter().find(|field| field.1 == name).map(|field| &field.2)
    }

    pub fn uuid(&self, name: &str) -> Option<Uuid> {
        self.get(name).and_then(Val::as_id)
    }

    pub fn uuids<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Uuid> + 'a {
        self.all(name).filter_map(Val::as_id)
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Val::Str(text)) => Some(text),
            Some(Val::Enum(text)) => Some(text),
            _ => None,
        }
    }

    pub fn int(&self, name: &str) -> Option<i64> {
        self.get(name).and_then(Val::as_int)
    }

    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name) {
            Some(Val::Bool(flag)) => Some(*flag),
            _ => None,
        }
    }

    pub fn ip(&self, name: &str) -> Option<IpAddr> {
        self.get(name).and_then(Val::as_ip)
    }

    pub fn subnet(&self, name: &str) -> Option<(IpAddr, u8)> {
        self.get(name).and_then(Val::as_subnet)
    }

    /// The text that MidoNet stores.
    pub fn to_text(&self) -> String {
        let mut out = String::with_capacity(64 * self.fields.len());
        for (_, name, value) in &self.fields {
            write_field(&mut out, 0, name, value);
        }
        out
    }
}

impl Val {
    pub fn as_id(&self) -> Option<Uuid> {
        if let Val::Id(id) = self { Some(*id) } else { None }
    }

    pub fn as_int(&self) -> Option<i64> {
        match self {
            Val::Int(value) => Some(*value),
            Val::Uint(value) => i64::try_from(*value).ok(),
            _ => None,
        }
    }

    pub fn as_ip(&self) -> Option<IpAddr> {
        if let Val::Ip(ip) = self { Some(*ip) } else { None }
    }

    pub fn as_subnet(&self) -> Option<(IpAddr, u8)> {
        if let Val::Subnet(ip, length) = self {
            Some((*ip, *length))
        } else {
            None
        }
    }

    /// Fields of a nested message.
    pub fn fields(&self) -> &[(&'static str, Val)] {
        if let Val::Msg(fields) = self { fields } else { &[] }
    }

    /// The first entry of a field of a nested message.
    pub fn field(&self, name: &str) -> Option<&Val> {
        self.fields().iter().find(|field| field.0 == name).map(|field| &field.1)
    }
}

macro_rules! from {
    ($($type:ty => $value:ident $make:expr;)+) => {
        $(impl From<$type> for Val { fn from($value: $type) -> Val { $make } })+
    };
}

from! {
    bool => v Val::Bool(v);
    i64 => v Val::Int(v);
    i32 => v Val::Int(i64::from(v));
    u64 => v Val::Uint(v);
    String => v Val::Str(v);
    &str => v Val::Str(v.to_owned());
    &String => v Val::Str(v.clone());
    Uuid => v Val::Id(v);
    IpAddr => v Val::Ip(v);
    Ipv4Addr => v Val::Ip(IpAddr::V4(v));
    (IpAddr, u8) => v Val::Subnet(v.0, v.1);
    (Ipv4Addr, u8) => v Val::Subnet(IpAddr::V4(v.0), v.1);
    Fields => v Val::Msg(v);
}

/// The field's number, by which MidoNet orders the text of an object.
fn field_number(kind: Kind, name: &str) -> u32 {
    static CLASSES: LazyLock<Vec<&'static model::Class>> = LazyLock::new(|| {
        let class = |kind: &Kind| model::class(kind.name()).expect("each kind is a class of MidoNet's model, which a test checks");
        Kind::ALL.iter().map(class).collect()
    });
    let field = CLASSES[kind as usize].field(name);
    debug_assert!(field.is_some(), "{} has no field {name}", kind.name());
    field.map_or(u32::MAX, |field| field.number)
}

/// An address as MidoNet prints it: IPv6 in eight groups without leading zeros, never shortened.
pub fn address_text(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let mut out = String::with_capacity(39);
            for (index, segment) in v6.segments().into_iter().enumerate() {
                if index > 0 {
                    out.push(':');
                }
                let _ = write!(out, "{segment:x}");
            }
            out
        }
    }
}

/// The text of a message that is not an object: a state value.
pub fn message_text(fields: &[(&'static str, Val)]) -> String {
    let mut out = String::with_capacity(64 * fields.len());
    for (name, value) in fields {
        write_field(&mut out, 0, name, value);
    }
    out
}

fn write_field(out: &mut String, depth: usize, name: &str, value: &Val) {
    // Writing to a String can't fail, so the results are dropped.
    indent(out, depth);
    match value {
        Val::Bool(value) => drop(writeln!(out, "{name}: {value}")),
        Val::Int(value) => drop(writeln!(out, "{name}: {value}")),
        Val::Uint(value) => drop(writeln!(out, "{name}: {value}")),
        Val::Enum(value) => drop(writeln!(out, "{name}: {value}")),
        Val::Str(value) => {
            let _ = write!(out, "{name}: \"");
            escape(out, value);
            out.push_str("\"\n");
        }
        Val::Id(id) => {
            let (msb, lsb) = id.as_u64_pair();
            block(out, depth, name, |out, depth| {
                write_field(out, depth, "msb", &Val::Uint(msb));
                write_field(out, depth, "lsb", &Val::Uint(lsb));
            });
        }
        Val::Ip(ip) => block(out, depth, name, |out, depth| write_address(out, depth, *ip)),
        Val::Subnet(ip, length) => block(out, depth, name, |out, depth| {
            write_address(out, depth, *ip);
            write_field(out, depth, "prefix_length", &Val::Uint(u64::from(*length)));
        }),
        Val::Msg(fields) => block(out, depth, name, |out, depth| {
            fields.iter().for_each(|(name, value)| write_field(out, depth, name, value))
        }),
    }
}

fn block(out: &mut String, depth: usize, name: &str, body: impl FnOnce(&mut String, usize)) {
    out.push_str(name);
    out.push_str(" {\n");
    body(out, depth + 1);
    indent(out, depth);
    out.push_str("}\n");
}

fn write_address(out: &mut String, depth: usize, ip: IpAddr) {
    write_field(out, depth, "version", &Val::Enum(if ip.is_ipv4() { "V4" } else { "V6" }));
    write_field(out, depth, "address", &Val::Str(address_text(ip)));
}

fn indent(out: &mut String, depth: usize) {
    (0..depth).for_each(|_| out.push_str("  "));
}

fn escape(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'"' => out.push_str("\\\""),
            b'\'' => out.push_str("\\'"),
            b'\\' => out.push_str("\\\\"),
            0x20..=0x7e => out.push(byte as char),
            _ => drop(write!(out, "\\{byte:03o}")),
        }
    }
}
