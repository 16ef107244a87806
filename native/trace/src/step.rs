// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What a trace tells.

use std::net::{IpAddr, Ipv4Addr};

use midonet::flow::{Device, DeviceKind, RuleHit, RuleResult};
use uuid::Uuid;

use crate::{
    condition::Part,
    packet::{Packet, Translation},
};

/// The way of a packet and its end.
#[derive(Clone, Debug)]
pub struct Trace {
    pub steps: Vec<Step>,
    pub end: End,
    /// The packet as it entered, and as it was at the end.
    pub before: Packet,
    pub after: Packet,
    /// What the answer to it needs.
    pub translations: Vec<Translation>,
    pub doubts: Vec<Doubt>,
}

/// One thing that was met or done.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Into a device.
    Enter {
        port: Uuid,
    },
    /// Out of a device.
    Leave {
        port: Uuid,
    },
    Network {
        network: Uuid,
    },
    /// A network knows the port behind the destination's Ethernet address, or sends it to all.
    Switched {
        network: Uuid,
        to: Option<Uuid>,
    },
    Router {
        router: Uuid,
    },
    Routed {
        router: Uuid,
        /// `None` for one that was learned by BGP.
        route: Option<Uuid>,
        destination: (Ipv4Addr, u8),
        gateway: Option<Ipv4Addr>,
        port: Option<Uuid>,
        /// How many routes were equally good.
        equal: usize,
    },
    Balancer {
        balancer: Uuid,
    },
    Pool {
        pool: Uuid,
        /// How many members are up.
        members: usize,
    },
    /// A chain begins; `depth` 0 where it hangs at a device, more where it was jumped to.
    Chain {
        chain: Uuid,
        depth: usize,
    },
    Rule {
        chain: Uuid,
        hit: RuleHit,
        depth: usize,
        /// Why it didn't match.
        miss: Option<Part>,
    },
    /// An address or port was changed, at a router or load balancer.
    Translated {
        device: Uuid,
        dnat: bool,
        /// Undoing what was done to the other direction.
        undone: bool,
        from: (IpAddr, u16),
        to: (IpAddr, u16),
    },
}

/// How the way ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// Leaves the virtual network by this bound port.
    Delivered(Uuid),
    /// Leaves by all of these bound ports.
    Flooded(Vec<Uuid>),
    Dropped(Reason),
    /// Answered by a virtual device itself.
    Answered {
        device: Uuid,
    },
    /// Not modelled from here on.
    Unknown(Limit),
}

/// Why a packet was dropped.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reason {
    Rule {
        rule: Uuid,
        chain: Uuid,
        rejected: bool,
    },
    /// The administrative state of a port, network or router is down.
    AdminDown(Uuid),
    /// Neither bound to a host nor linked to a peer.
    Unplugged(Uuid),
    /// A frame to an Ethernet address that is not the router's.
    NotForRouter(Uuid),
    /// Routers take IPv4, and ARP.
    NotRoutable(Uuid),
    NoRoute(Uuid),
    /// A route without an id was learned.
    Blackhole {
        router: Uuid,
        route: Option<Uuid>,
    },
    RejectedByRoute {
        router: Uuid,
        route: Option<Uuid>,
    },
    /// For the router itself, and it serves nothing there.
    RouterItself(Uuid),
    TimeToLive(Uuid),
    /// Nobody is known to have the next address.
    NobodyAnswers {
        router: Uuid,
        address: Ipv4Addr,
    },
    /// The pool has no member that is up.
    NoMember(Uuid),
    /// The destination is behind the port by which the packet came.
    SamePort(Uuid),
    /// To all, and there is nobody else.
    NobodyElse(Uuid),
    /// MidoNet gives up after this many ports: a loop.
    TooManyDevices,
    /// The topology lacks an object that another one names.
    Missing(Uuid),
}

/// What is not modelled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Limit {
    /// A rule sends the packet to a port of a service (L2 insertion).
    Redirect,
    /// IPv6 floating addresses.
    Fip64,
    /// To a VTEP, or a port of an overlay router.
    Vtep,
    /// Tagged frames between a network and its VLAN ports.
    VlanPorts,
}

/// What the topology alone doesn't decide.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Doubt {
    /// The agent chooses among equal routes by a hash of the flow.
    EqualRoutes { router: Uuid, count: usize },
    /// The agent takes one of the members.
    Member { pool: Uuid, count: usize },
    /// The agent takes a free port, or address, out of a range.
    Source { device: Uuid },
    /// Nobody has asked for this neighbour yet: it is taken to answer.
    Neighbour { router: Uuid, address: Ipv4Addr },
    /// The host has the port not up.
    Inactive { port: Uuid },
    /// A service is inserted before the port; its chains are not walked.
    Insertion { port: Uuid },
    /// The router's chain for redirected local traffic is not walked.
    LocalRedirect { router: Uuid },
    /// Nobody says whether monitored members are up: they are taken to be.
    MemberStates { pool: Uuid },
    /// A jump to a chain that was visited already, or to one that is not there.
    Jump { rule: Uuid },
}

impl Trace {
    /// Devices in the order in which an agent's record has them: chains come where they are met.
    pub fn devices(&self) -> Vec<Device> {
        let device = |id, kind| Some(Device { id, kind });
        let of_step = |step: &Step| match *step {
            Step::Enter { port } | Step::Leave { port } => device(port, DeviceKind::Port),
            Step::Network { network } => device(network, DeviceKind::Bridge),
            Step::Router { router } => device(router, DeviceKind::Router),
            Step::Balancer { balancer } => device(balancer, DeviceKind::LoadBalancer),
            Step::Pool { pool, .. } => device(pool, DeviceKind::Pool),
            Step::Chain { chain, .. } => device(chain, DeviceKind::Chain),
            Step::Switched { .. } | Step::Routed { .. } | Step::Rule { .. } | Step::Translated { .. } => None,
        };
        self.steps.iter().filter_map(of_step).collect()
    }

    /// Rules in the order of their evaluation.
    pub fn rules(&self) -> Vec<RuleHit> {
        let of_step = |step: &Step| match step {
            Step::Rule { hit, .. } => Some(*hit),
            _ => None,
        };
        self.steps.iter().filter_map(of_step).collect()
    }

    /// The rule that decided to drop it.
    pub fn deciding_rule(&self) -> Option<Uuid> {
        match self.end {
            End::Dropped(Reason::Rule { rule, .. }) => Some(rule),
            _ => None,
        }
    }

    /// Ports by which it leaves the virtual network.
    pub fn out_ports(&self) -> &[Uuid] {
        match &self.end {
            End::Delivered(port) => std::slice::from_ref(port),
            End::Flooded(ports) => ports,
            _ => &[],
        }
    }
}

/// Whether a verdict of a rule ends the evaluation of the whole stack of chains.
pub(crate) fn is_final(result: RuleResult) -> bool {
    matches!(result, RuleResult::Accept | RuleResult::Drop | RuleResult::Reject | RuleResult::Redirect)
}
