// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What a trace has to know of a site.

use std::{collections::HashMap, net::Ipv4Addr};

use midonet::{Mac, model::Object, nsdb::LearnedRoute};
use uuid::Uuid;

/// The topology of one moment. Nothing is asked for that the packet doesn't meet.
pub trait Topology {
    /// An object of the NSDB by its class and id.
    fn object(&self, class: &str, id: Uuid) -> Option<Object>;

    /// The port behind an Ethernet address, by a network's MAC table of a VLAN (0: untagged).
    fn mac_port(&self, network: Uuid, vlan: u16, mac: Mac) -> Option<Uuid>;

    /// The Ethernet address of an IPv4 address, by a network's table.
    fn ip_mac(&self, network: Uuid, address: Ipv4Addr) -> Option<Mac>;

    /// The Ethernet address of a neighbour that a router has asked for.
    fn neighbour(&self, router: Uuid, address: Ipv4Addr) -> Option<Mac>;

    /// Routes that were learned by BGP at a port.
    fn learned(&self, port: Uuid) -> Vec<LearnedRoute>;

    /// Whether an agent has a bound port up; `None` where the site doesn't say.
    fn port_active(&self, port: Uuid) -> Option<bool>;

    /// Whether a monitored pool member answers; `None` where nobody says.
    fn member_active(&self, member: Uuid) -> Option<bool>;
}

impl<T: Topology + ?Sized> Topology for &T {
    fn object(&self, class: &str, id: Uuid) -> Option<Object> {
        (**self).object(class, id)
    }

    fn mac_port(&self, network: Uuid, vlan: u16, mac: Mac) -> Option<Uuid> {
        (**self).mac_port(network, vlan, mac)
    }

    fn ip_mac(&self, network: Uuid, address: Ipv4Addr) -> Option<Mac> {
        (**self).ip_mac(network, address)
    }

    fn neighbour(&self, router: Uuid, address: Ipv4Addr) -> Option<Mac> {
        (**self).neighbour(router, address)
    }

    fn learned(&self, port: Uuid) -> Vec<LearnedRoute> {
        (**self).learned(port)
    }

    fn port_active(&self, port: Uuid) -> Option<bool> {
        (**self).port_active(port)
    }

    fn member_active(&self, member: Uuid) -> Option<bool> {
        (**self).member_active(member)
    }
}

/// A topology with some objects changed, added or taken away: a sandbox. References from other objects are the caller's to change with them.
#[derive(Debug)]
pub struct Edited<T> {
    base: T,
    objects: HashMap<(String, Uuid), Option<Object>>,
}

impl<T: Topology> Edited<T> {
    pub fn new(base: T) -> Self {
        Self {
            base,
            objects: HashMap::new(),
        }
    }

    /// Puts an object in the place of the one with its class and id. An object without an id is passed over.
    pub fn put(&mut self, object: Object) {
        if let Some(id) = object.id() {
            self.objects.insert((object.class.clone(), id), Some(object));
        }
    }

    pub fn remove(&mut self, class: &str, id: Uuid) {
        self.objects.insert((class.to_owned(), id), None);
    }
}

impl<T: Topology> Topology for Edited<T> {
    fn object(&self, class: &str, id: Uuid) -> Option<Object> {
        match self.objects.get(&(class.to_owned(), id)) {
            Some(edited) => edited.clone(),
            None => self.base.object(class, id),
        }
    }

    fn mac_port(&self, network: Uuid, vlan: u16, mac: Mac) -> Option<Uuid> {
        self.base.mac_port(network, vlan, mac)
    }

    fn ip_mac(&self, network: Uuid, address: Ipv4Addr) -> Option<Mac> {
        self.base.ip_mac(network, address)
    }

    fn neighbour(&self, router: Uuid, address: Ipv4Addr) -> Option<Mac> {
        self.base.neighbour(router, address)
    }

    fn learned(&self, port: Uuid) -> Vec<LearnedRoute> {
        self.base.learned(port)
    }

    fn port_active(&self, port: Uuid) -> Option<bool> {
        self.base.port_active(port)
    }

    fn member_active(&self, member: Uuid) -> Option<bool> {
        self.base.member_active(member)
    }
}
