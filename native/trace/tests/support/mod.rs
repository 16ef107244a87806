// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A topology in memory.

use std::{collections::HashMap, net::Ipv4Addr};

use insights_trace::Topology;
use midonet::{
    Mac,
    model::{Object, decode_object},
    nsdb::LearnedRoute,
};
use uuid::Uuid;

#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) objects: HashMap<(String, Uuid), Object>,
    pub(crate) macs: HashMap<(Uuid, Mac), Uuid>,
    pub(crate) arp: HashMap<(Uuid, Ipv4Addr), Mac>,
    pub(crate) learned: Vec<LearnedRoute>,
}

impl Memory {
    pub(crate) fn add(&mut self, class: &str, id: Uuid, text: &str) {
        let object = decode_object(class, text.as_bytes()).unwrap();
        self.objects.insert((class.to_owned(), id), object);
    }
}

impl Topology for Memory {
    fn object(&self, class: &str, id: Uuid) -> Option<Object> {
        self.objects.get(&(class.to_owned(), id)).cloned()
    }

    fn mac_port(&self, network: Uuid, _: u16, mac: Mac) -> Option<Uuid> {
        self.macs.get(&(network, mac)).copied()
    }

    fn ip_mac(&self, network: Uuid, address: Ipv4Addr) -> Option<Mac> {
        self.arp.get(&(network, address)).copied()
    }

    fn neighbour(&self, _: Uuid, _: Ipv4Addr) -> Option<Mac> {
        None
    }

    fn learned(&self, port: Uuid) -> Vec<LearnedRoute> {
        self.learned.iter().filter(|route| route.port == Some(port)).copied().collect()
    }

    fn port_active(&self, _: Uuid) -> Option<bool> {
        Some(true)
    }

    fn member_active(&self, _: Uuid) -> Option<bool> {
        None
    }
}
