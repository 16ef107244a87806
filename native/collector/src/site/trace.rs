// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A site as the trace of a packet reads it.

use std::net::{IpAddr, Ipv4Addr};

use insights_trace::Topology;
use midonet::{Mac, model::Object, nsdb::LearnedRoute};
use uuid::Uuid;

use super::{Site, tables::current};

impl Topology for Site {
    fn object(&self, class: &str, id: Uuid) -> Option<Object> {
        midonet::model::decode_object(class, &self.stored(class, id)?.raw).ok()
    }

    fn mac_port(&self, network: Uuid, vlan: u16, mac: Mac) -> Option<Uuid> {
        let versions = self.tables.macs.get(&network)?.get(&(mac, vlan))?;
        current(versions).map(|(_, port)| *port)
    }

    fn ip_mac(&self, network: Uuid, address: Ipv4Addr) -> Option<Mac> {
        let versions = self.tables.ip_macs.get(&network)?.get(&IpAddr::V4(address))?;
        current(versions).map(|(_, mac)| *mac)
    }

    fn neighbour(&self, router: Uuid, address: Ipv4Addr) -> Option<Mac> {
        let versions = self.tables.arps.get(&router)?.get(&IpAddr::V4(address))?;
        current(versions).and_then(|(_, entry)| entry.mac)
    }

    fn learned(&self, port: Uuid) -> Vec<LearnedRoute> {
        let texts = self.tables.routes.get(&port);
        texts
            .into_iter()
            .flat_map(|routes| routes.iter().filter_map(|(text, _)| text.parse().ok()))
            .collect()
    }

    fn port_active(&self, port: Uuid) -> Option<bool> {
        self.has_states().then(|| self.state(port, "active").is_some())
    }

    fn member_active(&self, member: Uuid) -> Option<bool> {
        Some(&*self.state(member, "status")?.value == b"ACTIVE")
    }
}
