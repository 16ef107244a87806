// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Incidents by name: what breaks in a cloud, with what it breaks chosen so that a packet can show it, and how it is mended again.

mod scene;
mod script;

use std::net::Ipv4Addr;

use uuid::Uuid;

pub use scene::Stage;
pub use script::{Script, ScriptError};

use crate::{obj::Obj, traffic::Probe, translate::SecurityGroupRule};

macro_rules! incidents {
    ($($name:ident $slug:literal $about:literal,)*) => {
        /// What can happen.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Incident { $(#[doc = $about] $name),* }

        impl Incident {
            pub const ALL: &'static [Incident] = &[$(Incident::$name),*];

            pub fn slug(self) -> &'static str {
                match self { $(Incident::$name => $slug),* }
            }

            /// What happens, for people.
            pub fn about(self) -> &'static str {
                match self { $(Incident::$name => $about),* }
            }
        }
    };
}

incidents! {
    HostStops "host-stops" "The agent of a compute host ends in order.",
    HostCrashes "host-crashes" "The agent of a compute host is gone without a word; its session runs out.",
    PortInactive "port-inactive" "A VM's tap is gone: its port is bound and not active.",
    UplinkInactive "uplink-inactive" "An uplink's interface has lost its link.",
    BgpDown "bgp-down" "A BGP session is lost and stays so.",
    VtepError "vtep-error" "The cluster gets no answer of a hardware VTEP.",
    MemberInactive "member-inactive" "The health monitor does not reach a pool member.",
    RuleRemoved "rule-removed" "The rule that lets HTTP into a tenant's web servers is removed.",
    EgressRemoved "egress-removed" "VMs may be reached and may not speak: a group has lost its rule for what goes out.",
    DatabaseShut "database-shut" "The rule that lets a tenant's VMs into its databases is removed.",
    WrongGroup "wrong-group" "A web server is taken out of its security group.",
    DropRule "drop-rule" "A rule that drops everything is put before all others of a port.",
    WrongRoute "wrong-route" "A more specific route leads part of a tenant's traffic into nothing.",
    RouteRemoved "route-removed" "A tenant's router loses its default route.",
    PortDisabled "port-disabled" "The port of a VM is set down.",
    FloatingMoved "floating-moved" "A floating address is given to a VM that lets nobody in.",
    Scan "scan" "Somebody outside tries the ports of a floating address.",
    NoisyNeighbour "noisy-neighbour" "A VM opens connection after connection.",
}

impl Incident {
    pub fn from_slug(slug: &str) -> Option<Incident> {
        Incident::ALL.iter().copied().find(|incident| incident.slug() == slug)
    }
}

/// An incident with all that is chosen for it.
#[derive(Clone, Debug)]
pub struct Scene {
    pub incident: Incident,
    /// What breaks: the host, port, peer, VTEP, member, rule or route.
    pub subject: Uuid,
    /// A packet that gets through without the incident and not with it.
    pub probe: Option<Probe>,
    act: Act,
}

/// What is done, with what it takes to undo it.
#[derive(Clone, Debug)]
enum Act {
    Stop {
        host: usize,
        crash: bool,
    },
    Break(Broken),
    Unrule(SecurityGroupRule),
    /// The rule of a chain, and its place there.
    RemoveRule {
        rule: Obj,
        chain: Uuid,
        place: usize,
    },
    AddRule {
        rule: Obj,
        chain: Uuid,
    },
    RemoveRoute(Obj),
    AddRoute(Obj),
    Disable(Uuid),
    MoveFloating {
        fip: Uuid,
        from: Uuid,
        to: Uuid,
    },
    /// So many probes.
    Burst {
        probe: Probe,
        count: u32,
        ports: bool,
    },
}

/// What an agent or the cluster finds broken, though the topology has it whole.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Broken {
    /// A port that is bound and not active.
    Port(Uuid),
    /// A BGP session, by its peer.
    Peer(Ipv4Addr),
    Vtep,
    Member(Uuid),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_incident_has_a_name_of_its_own() {
        for incident in Incident::ALL {
            assert_eq!(Incident::from_slug(incident.slug()), Some(*incident));
            assert!(incident.about().ends_with('.'));
        }
        assert_eq!(Incident::from_slug("nothing"), None);
    }
}
