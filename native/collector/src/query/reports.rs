// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Volumes by tenant and by network, from meters. What is north-south is told from the topology: bytes through the gateway ports of a
//! tenant's routers, and those of its ports on external networks. Addresses are not looked at.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::traffic::PortTotal;
use crate::site::{PortKind, Site};

/// Bytes towards the tenant or its VMs, and from them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Volume {
    pub incoming: f64,
    pub outgoing: f64,
}

impl Volume {
    pub fn total(self) -> f64 {
        self.incoming + self.outgoing
    }

    fn add(&mut self, other: Volume) {
        self.incoming += other.incoming;
        self.outgoing += other.outgoing;
    }
}

/// Bytes at the ports of a tenant's VMs, and what of it passed between the tenant and the outside.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TenantTraffic {
    pub ports: Volume,
    pub outside: Volume,
}

impl TenantTraffic {
    pub fn north_south(&self) -> f64 {
        self.outside.total()
    }

    /// What routers answer on their own passes a gateway and no VM, so the ports may have seen less than the gateway.
    pub fn total(&self) -> f64 {
        self.ports.total().max(self.north_south())
    }

    /// Between the cloud's own ports; a byte between two VMs of a tenant is counted at both.
    pub fn east_west(&self) -> f64 {
        self.total() - self.north_south()
    }
}

/// Traffic of each tenant. Ports that the first model does not know any more are looked up in the next one.
pub fn by_tenant(sites: &[&Site], totals: &HashMap<Uuid, PortTotal>) -> BTreeMap<String, TenantTraffic> {
    let mut tenants: BTreeMap<String, TenantTraffic> = BTreeMap::new();
    for (id, total) in totals {
        let Some(site) = knows(sites, *id) else { continue };
        let Some(tenant) = site.port_tenant(*id) else { continue };
        // Received by the virtual device is sent by the VM, and the other way round; on a router's port it is what comes from outside.
        let of_vm = Volume {
            incoming: total.tx_bytes,
            outgoing: total.rx_bytes,
        };
        let of_router = Volume {
            incoming: total.rx_bytes,
            outgoing: total.tx_bytes,
        };
        match site.port_kind(*id) {
            Some(PortKind::Vm | PortKind::Exterior | PortKind::Unbound) => {
                let traffic = tenants.entry(tenant.to_string()).or_default();
                traffic.ports.add(of_vm);
                if on_external_network(site, *id) {
                    traffic.outside.add(of_vm);
                }
            }
            Some(PortKind::Gateway) => tenants.entry(tenant.to_string()).or_default().outside.add(of_router),
            _ => {}
        }
    }
    tenants
}

/// Traffic of each network: bytes at the ports of VMs and of other devices outside of the virtual topology.
pub fn by_network(sites: &[&Site], totals: &HashMap<Uuid, PortTotal>) -> BTreeMap<Uuid, Volume> {
    let mut networks: BTreeMap<Uuid, Volume> = BTreeMap::new();
    for (id, total) in totals {
        let Some(site) = knows(sites, *id) else { continue };
        let Some(network) = site.port_network(*id) else { continue };
        if matches!(
            site.port_kind(*id),
            Some(PortKind::Vm | PortKind::Exterior | PortKind::Unbound | PortKind::Vxlan)
        ) {
            networks.entry(network).or_default().add(Volume {
                incoming: total.tx_bytes,
                outgoing: total.rx_bytes,
            });
        }
    }
    networks
}

fn knows<'a>(sites: &[&'a Site], port: Uuid) -> Option<&'a Site> {
    sites.iter().find(|site| site.port_kind(port).is_some()).copied()
}

fn on_external_network(site: &Site, port: Uuid) -> bool {
    site.port_network(port)
        .and_then(|network| site.network(network))
        .is_some_and(|network| network.external)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::golden_tests;

    fn total(rx_bytes: f64, tx_bytes: f64) -> PortTotal {
        PortTotal {
            rx_bytes,
            tx_bytes,
            ..PortTotal::default()
        }
    }

    #[test]
    fn gateways_of_tenant_routers_are_the_border_and_vms_the_volume() {
        let site = golden_tests::golden_site();
        let gateway = site
            .ports()
            .find(|port| port.kind == PortKind::Gateway && port.tenant.is_some())
            .expect("a tenant router with a gateway");
        let tenant = gateway.tenant.clone().unwrap();
        let vms: Vec<_> = site
            .ports()
            .filter(|port| port.kind == PortKind::Vm && port.tenant.as_deref() == Some(&*tenant) && !on_external_network(&site, port.id))
            .take(2)
            .collect();
        assert_eq!(vms.len(), 2);
        // One VM sends 1000 bytes to the other and 50 outside; 70 come back.
        let totals = HashMap::from([
            (vms[0].id, total(1_050.0, 70.0)),
            (vms[1].id, total(0.0, 1_000.0)),
            (gateway.id, total(70.0, 50.0)),
        ]);
        let tenants = by_tenant(&[&site], &totals);
        let traffic = tenants[&*tenant];
        assert_eq!(
            traffic.outside,
            Volume {
                incoming: 70.0,
                outgoing: 50.0
            }
        );
        assert_eq!((traffic.total(), traffic.east_west()), (2_120.0, 2_000.0));
        assert_eq!(tenants.len(), 1);
        let networks = by_network(&[&site], &totals);
        assert_eq!(networks.values().map(|volume| volume.total()).sum::<f64>(), 2_120.0);
        assert!(by_tenant(&[], &totals).is_empty());
        // What is gone now is found in a model of then.
        assert_eq!(by_tenant(&[&Site::default(), &site], &totals), tenants);
    }
}
